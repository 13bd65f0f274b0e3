"""The stage make eval: ask a run's model the evaluation's questions, judge its answers, write both into the run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from lesson.core.files import atomic, write_json
from lesson.core.messages import UserError, tr
from lesson.core.settings import Values
from lesson.data import rows
from lesson.evaluation.asking import answer_with_progress, build_chat
from lesson.evaluation.base_answers import answer_key, get_base_answers
from lesson.evaluation.held_out import KINDS, read_questions, read_system_prompts, refuse_trained_questions
from lesson.evaluation.judging import judge_answer, summarize
from lesson.evaluation.loading import load_model, use_environment
from lesson.evaluation.report import draw_evaluation
from lesson.runs.folder import find_last_run


@dataclass(frozen=True)
class Evaluation:
    """What was found out: `result` is evaluation.json, `lines` those of answers.jsonl, `folder` holds both."""

    result: dict
    lines: list[dict]
    folder: Path


def evaluate_run(values: Values, progress: TextIO) -> Evaluation:
    """Evaluate the last run and write answers.jsonl, evaluation.json and evaluation.png into its folder.

    Progress is shown on `progress`. Raises UserError when something is missing, or when a question was trained on.
    """
    use_environment(values)
    run = find_last_run(values)
    if values.use == "base":
        raise UserError(
            "USE=base",
            tr("the base is what the others are compared with", "基座是比较的对象"),
            tr("use merged or adapter", "请用 merged 或 adapter"),
        )
    record = run.read_record()
    questions = {kind: read_questions(kind) for kind in KINDS}
    refuse_trained_questions(questions["identity"], rows.read_rows(run.data), run.data)
    prompts = read_system_prompts(record["persona"])
    texts = [question["input"] for kind in KINDS for question in questions[kind]]
    base = get_base_answers(values, texts, prompts, record["inputs"]["base"], progress, run)
    tokenizer, model = load_model(values, values.use, run)
    asked = [(kind, prompt, question) for prompt in prompts for kind in KINDS for question in questions[kind]]
    chats = [build_chat(prompts[prompt], question["input"]) for _, prompt, question in asked]
    answers = answer_with_progress(tokenizer, model, chats, values.use, progress)
    lines = [
        judge_answer(kind, prompt, question, answer, record["names"], base[answer_key(prompt, question["input"])])
        for (kind, prompt, question), answer in zip(asked, answers, strict=True)
    ]
    result = summarize(lines, prompts, record["id"], values.use, record["names"])
    run.evaluation.mkdir(exist_ok=True)
    with atomic(run.evaluation / "answers.jsonl") as file:
        file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    write_json(run.evaluation / "evaluation.json", result)
    draw_evaluation(result, run.evaluation / "evaluation.png", values)
    return Evaluation(result, lines, run.evaluation)
