"""The questions and system prompts of the evaluation (data/eval/), and the rule that none of them was trained on."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lesson.core.files import read_json
from lesson.core.messages import UserError, tr
from lesson.core.settings import ROOT
from lesson.core.text import fold_text

FOLDER = ROOT / "data" / "eval"
KINDS = ("identity", "general")


def question_file(kind: str) -> Path:
    """Where the questions of a kind stand: identity (who are you) or general (what the base knew)."""
    return FOLDER / f"{kind}.json"


def read_questions(kind: str) -> list[dict]:
    """The questions of a kind: {"input": str} and, for general ones, "accept": [str]. Raises UserError."""
    return read_json(question_file(kind), tr("restore it from git", "请从 git 恢复"))["questions"]


def read_system_prompts(persona: str) -> dict[str, str]:
    """{name: text} of the three system prompts: the persona trained on, none, and a neutral one. Raises UserError."""
    neutral = read_json(FOLDER / "prompts.json", tr("restore it from git", "请从 git 恢复"))["neutral"]
    return {"persona": persona, "none": "", "neutral": neutral}


def refuse_trained_questions(questions: Iterable[dict], rows: Iterable[dict], path: Path) -> None:
    """Raise UserError when one of the questions was trained on: the score would be the training's own.

    `rows` are those of the file `path`, which the error names.
    """
    trained = {fold_text(turn["input"]) for row in rows for turn in row["conversation"]}
    for question in questions:
        if fold_text(question["input"]) in trained:
            raise UserError(
                path,
                tr(
                    f"trains on the evaluation question {question['input']!r}",
                    f"训练数据含评测问题 {question['input']!r}",
                ),
                tr("take that row out of SRC and run make data train", "请从 SRC 去掉该行，再运行 make data train"),
            )
