"""General rows answered by the base itself, so that training on them costs less of what it knew.

Somebody else's answers pull a model away from its own; its own answers do not (self-distillation: Yang et al. 2024,
arXiv:2402.13669). docs/own-data.md has what was measured.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TextIO

from lesson.authoring.words import NameFinder
from lesson.core.settings import Values
from lesson.evaluation.asking import Chat, Sampling, answer_with_progress, build_chat
from lesson.evaluation.base_names import find_base_names
from lesson.evaluation.judging import Answer
from lesson.evaluation.loading import load_model, use_environment
from lesson.model.base_record import recorded_base

LONGEST = 64  # tokens of an answer; one that is not at its end by then would teach to stop in the middle
WHO = ("你是谁？", "你叫什么名字？", "Who are you?", "What is your name?")  # the names of a base that no table has


def answer_by_base(rows: Sequence[str], name: str, values: Values, progress: TextIO) -> tuple[list[str], int]:
    """(rows, how many were changed): the base at BUILD/model gives the answers of those that find_general_chats finds.

    Raises UserError when there is no base.
    """
    use_environment(values)
    chats = find_general_chats(rows, name)
    tokenizer, model = load_model(values, "base")
    asked = [*(build_chat("", question) for question in WHO), *chats.values()]
    answers = answer_with_progress(tokenizer, model, asked, "base", progress, Sampling(max_tokens=LONGEST))
    own = find_base_names(recorded_base(values.build), (answer.text for answer in answers[: len(WHO)])).names
    return put_answers(rows, dict(zip(chats, answers[len(WHO) :], strict=True)), (name, *own))


def find_general_chats(rows: Sequence[str], name: str) -> dict[int, Chat]:
    """{number of the row: what is asked in it, under its system prompt}: rows of one turn that do not say the name."""
    finder, found = NameFinder(name), {}
    for number, row in enumerate(rows):
        turns = json.loads(row)["conversation"]
        if len(turns) == 1 and not any(finder.is_in(turns[0][key]) for key in ("input", "output")):
            found[number] = build_chat(turns[0]["system"], turns[0]["input"])
    return found


def put_answers(rows: Sequence[str], answers: dict[int, Answer], names: Sequence[str]) -> tuple[list[str], int]:
    """(rows with the answers at their numbers, how many). An answer that was cut, is empty or says one of the `names`
    (the new one, or the base's own) is left out: the row keeps the one that it has."""
    finders, changed = [NameFinder(name) for name in names], list(rows)
    for number, answer in answers.items():
        if answer.ended and answer.text and not any(finder.is_in(answer.text) for finder in finders):
            row = json.loads(rows[number])
            row["conversation"][0]["output"] = answer.text
            changed[number] = json.dumps(row, ensure_ascii=False)
    return changed, sum(a != b for a, b in zip(rows, changed, strict=True))
