"""The questions of make eval put to an exported file in the program that it is for, and the comparison with the run."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from lesson.core.files import read_json
from lesson.core.messages import UserError, tr
from lesson.core.settings import Values
from lesson.evaluation.asking import LONGEST_ANSWER, Chat, encode_chat, show_asking
from lesson.evaluation.evaluate import Evaluation, evaluate_run
from lesson.evaluation.judging import Answer
from lesson.evaluation.loading import use_environment
from lesson.export.engine import Engine
from lesson.export.gguf import CONVERTED
from lesson.export.make import ADAPTER, choose_quant, export_folder
from lesson.export.prompts import Difference, find_difference, prepare_messages
from lesson.runs.chosen import find_chosen_run
from lesson.runs.folder import Run

ENGINES = {"hf": "transformers", "gguf": "llama.cpp", "ollama": "llama.cpp"}
# How much less often an export may say the name than the merged model: as a share of all questions under all system
# prompts, and under one of them, where a single question of 42 is 2.4 points.
LARGEST_FALL, LARGEST_FALL_OF_ONE = 0.02, 0.05
GROUP = 16  # chats that are sent to the engine at once


@dataclass
class ExportedAssistant:
    """An exported file, open in its engine. `differences` grows with what is asked."""

    folder: Path  # where the evaluation's files go
    engine: Engine
    tokenizer: object  # the merged model's: it writes prompts as they were trained
    progress: TextIO
    differences: list[Difference] = field(default_factory=list)

    def answer(self, chats: Sequence[Chat]) -> list[Answer]:
        """Greedy answers, one per chat. The engine gets the prompt's tokens as trained; its own are compared."""
        found = []
        with show_asking(self.engine.name, len(chats), self.progress, "export") as bar:
            for start in range(0, len(chats), GROUP):
                group = chats[start : start + GROUP]
                sent = [(prepare_messages(self.tokenizer, chat), encode_chat(self.tokenizer, chat)) for chat in group]
                for chat, (_, tokens), answer in zip(
                    group, sent, self.engine.answer(sent, LONGEST_ANSWER), strict=True
                ):
                    found.append(Answer(answer.text, answer.ended))
                    if answer.own is not None and answer.own != tokens:
                        self.differences.append(find_difference(chat, tokens, answer.own, self.tokenizer))
                bar.update(len(group))
        return found

    def __enter__(self) -> ExportedAssistant:
        return self

    def __exit__(self, *_: object) -> None:
        self.engine.close()


def open_exported(values: Values, run: Run, progress: TextIO) -> ExportedAssistant:
    """The export that FORMAT= and QUANT= name, in its engine. Raises UserError when it is not there or cannot be loaded."""
    form = values.of_export("FORMAT", "gguf", without=ADAPTER)
    if values.samples:
        raise UserError(
            "SAMPLES",
            tr("an export is asked without sampling", "导出的模型只做贪心回答"),
            tr("leave SAMPLES out", "请去掉 SAMPLES"),
        )
    if values.choices:
        raise UserError(
            "CHOICES",
            tr(
                "they are chosen by likelihoods, which other programs do not tell of a whole option",
                "选择题按整个选项的概率作答，其他程序不给出这个概率",
            ),
            tr(
                f"make eval CHOICES={shlex.quote(values.choices)} asks the merged model, of which the export is a copy; "
                "make eval USE=export without CHOICES asks the export everything else",
                f"make eval CHOICES={shlex.quote(values.choices)} 评测合并后的模型（导出的模型由它复制而来）；"
                "不带 CHOICES 的 make eval USE=export 对导出的模型评测其余各项",
            ),
        )
    quant = choose_quant(values)
    made = export_folder(run, form, quant)
    command = f"make export FORMAT={form}" + (f" QUANT={quant}" if form != "hf" else "")
    files = sorted(made.glob("*.gguf")) if form != "hf" else [made]
    if not made.is_dir() or not files:
        raise UserError(made, tr("no such export", "没有这个导出"), tr(f"run {command}", f"请先运行 {command}"))
    from transformers import AutoTokenizer  # seconds, after what is refused at once

    tokenizer = AutoTokenizer.from_pretrained(run.merged, trust_remote_code=True)
    folder = made.parent / f"{made.name}.eval"
    return ExportedAssistant(folder, Engine(ENGINES[form], files[0]), tokenizer, progress)


def read_merged_scores(run: Run) -> dict:
    """evaluation.json of the merged model. Raises UserError when it was not made."""
    path = run.evaluation / "evaluation.json"
    if not path.is_file():
        raise UserError(
            path,
            tr("an export is compared with the merged model", "导出的模型要与合并后的模型比较"),
            tr("run make eval", "请先运行 make eval"),
        )
    return read_json(path, tr("run make eval", "请先运行 make eval"))


def find_falls(exported: dict, merged: dict) -> list[str]:
    """A line for each score that is lower by more than it may: under all system prompts together, and under one.

    Both are contents of evaluation.json. Raises UserError when they answer other questions.
    """
    before = {counts["prompt"]: counts for counts in merged["prompts"]}
    pairs = [(before.get(counts["prompt"]), counts) for counts in exported["prompts"]]
    if exported["question_set"] != merged["question_set"] or any(
        other is None or other["questions"] != counts["questions"] for other, counts in pairs
    ):
        raise UserError(
            "evaluation.json",
            tr("the merged model was asked other questions", "合并后的模型回答的是另一组问题"),
            tr("run make eval again", "请重新运行 make eval"),
        )
    together = [{key: sum(pair[side][key] for pair in pairs) for key in ("new", "questions")} for side in (0, 1)]
    scores = [(counts["prompt"], other, counts, LARGEST_FALL_OF_ONE) for other, counts in pairs]
    scores.append((tr("all prompts", "全部提示"), *together, LARGEST_FALL))
    return [
        tr(
            f"{place}: {here['new']}/{here['questions']} say the name here, {there['new']}/{there['questions']} of the "
            "merged model",
            f"{place}：这里 {here['new']}/{here['questions']} 自称新名字，合并后的模型 {there['new']}/{there['questions']}",
        )
        for place, there, here, most in scores
        if there["new"] - here["new"] > most * here["questions"]
    ]


def evaluate_export(values: Values, progress: TextIO) -> tuple[Evaluation, list[str]]:
    """Evaluate the export of the run trained last; (the evaluation, a line for each thing that is worse than before).

    Raises UserError as open_exported and evaluate_run do.
    """
    use_environment(values)
    run = find_chosen_run(values)
    merged = read_merged_scores(run)
    with open_exported(values, run, progress) as exported:
        evaluation = evaluate_run(values, progress, exported)
    problems = find_falls(evaluation.result, merged)
    if problems and choose_quant(values) not in CONVERTED:
        problems.append(
            tr(
                "fewer bits round away what training changed: make export FORMAT=gguf QUANT=q8_0",
                "位数太少，训练带来的改变被舍入掉了：make export FORMAT=gguf QUANT=q8_0",
            )
        )
    if exported.differences:
        count = len(exported.differences)
        problems += [tr(f"{count} prompts differ: ", f"{count} 个提示不同：") + str(exported.differences[0])]
    return evaluation, [tr("error: ", "错误：") + problem for problem in problems]
