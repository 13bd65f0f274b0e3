"""The evaluation's questions, which no row made here may ask: an answer learned by heart would prove nothing."""

from __future__ import annotations

import json
from pathlib import Path

from lesson.core.settings import ROOT
from lesson.core.text import fold_text

EVALUATION = ROOT / "data" / "eval"


def read_evaluation_questions(folder: Path = EVALUATION) -> list[str]:
    """The questions about the assistant, then the general ones."""
    return [
        question["input"]
        for name in ("identity", "general")
        for question in json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))["questions"]
    ]


def fold_evaluation_questions(folder: Path = EVALUATION) -> frozenset[str]:
    """The same, without case, white space and punctuation: compare `fold_text(question)` with them."""
    return frozenset(fold_text(question) for question in read_evaluation_questions(folder))


def fold_held_out_questions(folder: Path = EVALUATION) -> frozenset[str]:
    """As fold_evaluation_questions, with those for real bases, all turns, among them: what make synth may not ask.

    The tiny base's corpus leaves out the first alone, which keeps it, and so the base, what it is.
    """
    turns = [
        turn
        for name in ("identity_tune", "identity_report")
        for question in json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))["questions"]
        for turn in (*question.get("before", ()), question["input"])
    ]
    return fold_evaluation_questions(folder) | {fold_text(turn) for turn in turns}
