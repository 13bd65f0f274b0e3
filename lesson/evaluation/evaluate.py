"""The stage make eval: ask a run's model the evaluation's questions, judge its answers, write both into the run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TextIO

from lesson.core.files import atomic, atomic_folder, write_json
from lesson.core.messages import UserError, tr
from lesson.core.settings import Values
from lesson.data import rows
from lesson.evaluation.asking import GREEDY, Chat, Sampling, answer_with_progress
from lesson.evaluation.bars import find_missed_choices
from lesson.evaluation.base_answers import answer_key, get_base_answers
from lesson.evaluation.base_names import describe_base_of, find_base_names
from lesson.evaluation.choice_files import read_choice_sets
from lesson.evaluation.choice_scoring import choose_options
from lesson.evaluation.choices import compare_choices, get_base_choices
from lesson.evaluation.held_out import (
    choose_question_set,
    language_of,
    read_identity_questions,
    read_questions,
    read_system_prompts,
    refuse_trained_questions,
)
from lesson.evaluation.judging import Answer, contains_accepted, count_new, judge_answer, summarize
from lesson.evaluation.languages import Languages, find_languages
from lesson.evaluation.loading import find_weights, load_model, use_environment
from lesson.evaluation.rendering import find_default_prompt
from lesson.evaluation.report import draw_evaluation
from lesson.evaluation.turns import Question, ask_in_turns
from lesson.runs.chosen import find_chosen_run
from lesson.runs.folder import Run
from lesson.runs.trained_with import TrainedWith, read_trained_with

TEMPERATURE = 0.7  # of the answers that SAMPLES draws


@dataclass(frozen=True)
class Evaluation:
    """What was found out: `result` is evaluation.json, `lines` those of answers.jsonl, `folder` holds both.

    `base_names_asked` says whether the base's names were found in its own answers, `languages` which ones were judged,
    `trained` what the run was trained with.
    """

    result: dict
    lines: list[dict]
    folder: Path
    base_names_asked: bool
    languages: Languages
    trained: TrainedWith


class ExportedAnswers(Protocol):
    """What answers in place of the run's own model with USE=export; `folder` is where its evaluation goes."""

    folder: Path

    def answer(self, chats: Sequence[Chat]) -> list[Answer]: ...


def evaluate_run(values: Values, progress: TextIO, exported: ExportedAnswers | None = None) -> Evaluation:
    """Evaluate the last run and write answers.jsonl, evaluation.json and evaluation.png into its folder.

    `exported` answers in place of the run's own model, and has a folder of its own. Progress is shown on `progress`.
    Raises UserError when something is missing, or when a question was trained on.
    """
    use_environment(values)
    run = find_chosen_run(values)
    use = "export" if exported else values.use
    if use == "base":
        raise UserError(
            "USE=base",
            tr("the base is what the others are compared with", "基座是比较的对象"),
            tr("use merged or adapter", "请用 merged 或 adapter"),
        )
    # Read first: what is wrong with them is told before a model is loaded.
    sets = read_choice_sets(values.choices, values.choices_limit) if values.choices else []
    record = run.read_record()
    names, question_set = record["names"], choose_question_set(values)
    identity, general = read_identity_questions(question_set, names["old"]), read_questions("general")
    refuse_trained_questions(identity, rows.read_rows(run.data), run.data)
    prompts = read_system_prompts(record["persona"], read_default_prompt(values, run, "merged" if exported else use))
    plain = [q["input"] for q in identity if q["kind"] == "plain"]
    texts = plain + [question["input"] for question in general]
    base = get_base_answers(values, texts, prompts, record["inputs"]["base"], progress, run, question_set, plain)
    untrained = [base[answer_key(name, text)] for name in prompts if name != "persona" for text in plain]
    base_names = find_base_names(record.get("base"), untrained)
    languages = find_languages(
        record.get("base"),
        (
            (language_of(q["input"]), contains_accepted(base[answer_key(name, q["input"])], q["accept"]))
            for name in prompts
            for q in general
        ),
    )
    base_choices = get_base_choices(values, sets, record["inputs"]["base"], progress, run) if sets else []
    tokenizer, model = (None, None) if exported else load_model(values, use, run)
    target = exported.folder if exported else run.evaluation
    asked = [
        Question(kind, prompt, system, question)
        for prompt, system in prompts.items()
        for kind, questions in (("identity", identity), ("general", general))
        for question in questions
    ]

    def judge(questions: list[Question], sampling: Sampling = GREEDY) -> list[dict]:
        # Without a word about sampling where nothing is drawn.
        how = () if sampling is GREEDY else (sampling,)
        answers = ask_in_turns(
            questions,
            exported.answer
            if exported
            else lambda chats: answer_with_progress(tokenizer, model, chats, use, progress, *how),
        )
        return [
            judge_answer(
                *(q.kind, q.prompt, q.text, answer, names, base[answer_key(q.prompt, q.text["input"])])
                if q.kind == "general"
                else (q.kind, q.prompt, q.text, answer, names, ""),
                base_names=base_names.names,
                before=before,
            )
            for q, (before, answer) in zip(questions, answers, strict=True)
        ]

    lines = judge(asked)
    sampled = []
    for seed in range(1, values.samples + 1):
        set_seed(seed)
        drawn = judge([q for q in asked if q.kind == "identity"], Sampling(TEMPERATURE))
        for prompt in prompts:
            own = [
                x for x in drawn if x["prompt"] == prompt and x["asked"] != "maker" and x["lang"] in languages.judged
            ]
            sampled.append({"seed": seed, "temperature": TEMPERATURE, "prompt": prompt, **count_new(own)})
    result = summarize(
        lines, prompts, record["id"], use, names, question_set, base_names.names, sampled, languages.judged
    )
    choice_lines = []
    if sets:
        result["choices"], choice_lines = compare_choices(
            sets, base_choices, lambda chosen: choose_options(tokenizer, model, chosen, use, progress)
        )
        result["failures"] += find_missed_choices(result)
        result["passed"] = not result["failures"]
    with atomic_folder(target) as folder:  # answers and figures of one evaluation, never of two
        if choice_lines:
            with atomic(folder / "choices.jsonl") as file:
                file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in choice_lines)
        with atomic(folder / "answers.jsonl") as file:
            file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        write_json(folder / "evaluation.json", result)
        draw_evaluation(result, folder / "evaluation.png", values)
    return Evaluation(result, lines, target, base_names.by_asking, languages, read_trained_with(run))


def read_default_prompt(values: Values, run: Run, use: str) -> str:
    """The system prompt that belongs to the base of the run; empty where it has none."""
    from transformers import AutoTokenizer

    place = find_weights(values, use, run)
    tokenizer = AutoTokenizer.from_pretrained(place, trust_remote_code=True)
    return find_default_prompt(tokenizer, describe_base_of(values, run)) if tokenizer.chat_template else ""


def set_seed(seed: int) -> None:
    """The seed of the answers that are drawn next."""
    import torch

    torch.manual_seed(seed)
