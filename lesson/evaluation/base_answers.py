"""What the base answers to the evaluation's questions: asked once, stored in BUILD, shared by all runs on that base."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import TextIO

from lesson.core.files import sha256, write_json
from lesson.core.layout import base_answers_file
from lesson.core.settings import Values
from lesson.evaluation.asking import GREEDY, Sampling, answer_with_progress, build_chat
from lesson.evaluation.held_out import SETS, question_file
from lesson.evaluation.loading import load_model
from lesson.runs.folder import Run

BEGINNING = 48  # tokens


def answer_key(prompt: str, question: str) -> str:
    """The key of one stored answer: `prompt` is the name of the system prompt."""
    return f"{prompt}\n{question}"


def get_base_answers(
    values: Values,
    questions: list[str],
    prompts: dict[str, str],
    base: str,
    progress: TextIO,
    run: Run | None = None,
    question_set: str = "tiny",
    brief: Collection[str] = (),
) -> dict[str, str]:
    """{answer_key: the base's answer}. The base is loaded and asked only where nothing is stored.

    Of the answers to `brief`, some of the questions, BEGINNING tokens are enough: whether the base says who it is stands in
    the first sentence, and a base that was not trained to be short goes on for long.
    `prompts` are {name: text}, `base` is the hash of the base model, `run` the run whose base it is, `question_set` that
    of the identity questions; progress is shown on `progress`. Raises UserError when there is no base.
    """
    stored = read_base_answers(values, prompts, base, question_set)
    if stored:
        return stored
    tokenizer, model = load_model(values, "base", run)
    asked = [(name, question) for name in prompts for question in questions]
    answers = {}
    for part, sampling in ((True, Sampling(max_tokens=BEGINNING)), (False, GREEDY)):
        now = [(name, question) for name, question in asked if (question in brief) is part]
        chats = [build_chat(prompts[name], question) for name, question in now]
        replies = answer_with_progress(tokenizer, model, chats, "base", progress, sampling) if now else []
        answers |= {
            answer_key(name, question): reply.text for (name, question), reply in zip(now, replies, strict=True)
        }
    write_json(base_answers_file(values.build), {"key": _inputs(prompts, base, question_set), "answers": answers})
    return answers


def read_base_answers(values: Values, prompts: dict[str, str], base: str, question_set: str = "tiny") -> dict[str, str]:
    """What get_base_answers stored, or {} where nothing is stored for this base, these questions and prompts."""
    try:
        stored = json.loads((base_answers_file(values.build)).read_text(encoding="utf-8"))
        return stored["answers"] if stored["key"] == _inputs(prompts, base, question_set) else {}
    except (OSError, ValueError, LookupError, TypeError):
        return {}


def _inputs(prompts: dict[str, str], base: str, question_set: str) -> dict[str, object]:
    """What the base's answers depend on."""
    files = (SETS[question_set], "general")
    return {
        "base": base,
        "beginning": BEGINNING,
        "questions": {name: sha256(question_file(name)) for name in files},
        "prompts": prompts,
    }
