"""The questions and system prompts of the evaluation (data/eval/), and the rule that none of them was trained on."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from lesson.core.files import read_json
from lesson.core.messages import UserError, tr
from lesson.core.settings import ROOT, Values
from lesson.core.text import fold_text

FOLDER = ROOT / "data" / "eval"
KINDS = ("identity", "general")
# The identity questions by the name of their set. `tiny` are those that decide with the tiny base; a real base is asked
# `report`, and `tune` where rows and values are chosen.
SETS = {"tiny": "identity", "tune": "identity_tune", "report": "identity_report"}
LANGUAGES = ("zh", "en")
HAN = re.compile("[\u3400-\u9fff]")


def choose_question_set(values: Values) -> str:
    """The set of identity questions: QUESTIONS_SET, else tiny for the tiny base and report for a real one."""
    return values.questions_set or ("tiny" if values.profile == "tiny" else "report")


def question_file(name: str) -> Path:
    """Where questions stand: identity, identity_tune or identity_report (who are you), or general (what the base knew)."""
    return FOLDER / f"{name}.json"


def read_questions(name: str) -> list[dict]:
    """The questions of a file: {"input": str} and, for general ones, "accept": [str]. Raises UserError."""
    return read_json(question_file(name), tr("restore it from git", "请从 git 恢复"))["questions"]


def read_identity_questions(question_set: str, old_name: str) -> list[dict]:
    """The identity questions of a set: {"input", "before": [earlier turns of the user], "kind", "lang"}, the old name
    filled in. Raises UserError."""
    return [
        {
            "input": question["input"].replace("{old}", old_name),
            "before": [turn.replace("{old}", old_name) for turn in question.get("before", [])],
            "kind": question.get("kind", "plain"),
            "lang": question.get("lang") or language_of(question["input"]),
        }
        for question in read_questions(SETS[question_set])
    ]


def language_of(text: str) -> str:
    """zh for a text with Chinese characters, else en."""
    return "zh" if HAN.search(text) else "en"


def read_system_prompts(persona: str, default: str = "") -> dict[str, str]:
    """{name: text} of the system prompts: the persona trained on, none, a neutral one, and where the base's chat template
    has a `default` of its own, that. Raises UserError."""
    neutral = read_json(FOLDER / "prompts.json", tr("restore it from git", "请从 git 恢复"))["neutral"]
    return {"persona": persona, "none": "", "neutral": neutral} | ({"default": default} if default else {})


def refuse_trained_questions(questions: Iterable[dict], rows: Iterable[dict], path: Path) -> None:
    """Raise UserError when one of the questions was trained on: the score would be the training's own.

    `rows` are those of the file `path`, which the error names.
    """
    trained = {fold_text(turn["input"] or "") for row in rows for turn in row["conversation"]}
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
