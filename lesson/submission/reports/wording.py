"""The words that all reports share, and how a stranger's text is shown.

Everything in a verdict came from a stranger: each form escapes it in its own way, and a terminal is sent no control
character.
"""

from __future__ import annotations

import math
import unicodedata

from lesson.core.messages import tr
from lesson.submission.scoring import deciding_checks

AREA_NAMES = {
    "package": ("package", "打包"),
    "data": ("data", "数据"),
    "config": ("config", "配置"),
    "run": ("training", "训练"),
    "adapter": ("adapter", "适配器"),
    "answers": ("answers", "回答"),
    "rerun": ("rerun by the staff", "教师重新提问"),
    "retrain": ("trained again by the staff", "教师重新训练"),
    "checker": ("checker", "检查程序"),
}
MARKS = {"passed": "ok  ", "failed": "FAIL", "skipped": "–   ", "unjudged": "?   "}
STATUS_NAMES = {
    "passed": ("passed", "通过"),
    "failed": ("failed", "未通过"),
    "skipped": ("skipped", "跳过"),
    "unjudged": ("could not be judged", "无法判断"),
}


def visible(text: str) -> str:
    """`text` on one line with control, format and surrogate characters shown as escapes, not sent."""
    return "".join(ascii(c)[1:-1] if unicodedata.category(c)[0] == "C" or c in "\u2028\u2029" else c for c in text)


def visible_lines(text: str) -> str:
    return "\n".join(visible(line) for line in text.split("\n"))


def outcome(verdict: dict) -> str:
    """Whether the submission passed, in words."""
    if verdict["passed"] is None:
        return tr(
            "could not be judged, which is not the submission's fault",
            "无法判断，这不是提交的问题",
        )
    return tr("passed", "通过") if verdict["passed"] else tr("not passed", "未通过")


def score(verdict: dict) -> str:
    """The points that it got and those that it could get."""
    return f"{verdict['points']:g}/{verdict['of']:g}"


def requirements(verdict: dict) -> str:
    """What a submission passes by: the threshold in points, and the required checks."""
    least = math.ceil(verdict["threshold"] * verdict["of"] / 100 - 1e-9)
    return tr(
        f"to pass: {least:g} of {verdict['of']:g} points ({verdict['threshold']:g}%), and every check with a *",
        f"通过条件：{verdict['of']:g} 分中至少 {least:g} 分（{verdict['threshold']:g}%），且带 * 的检查全部通过",
    )


def decision(verdict: dict) -> str:
    """Outcome and points, and where it did not pass, which checks decided that."""
    text = f"{outcome(verdict)}, {score(verdict)} " + tr("points", "分")
    if verdict["passed"]:
        return text
    decided = [f"{r['title']} ({tr(*STATUS_NAMES[r['status']])})" for r in deciding_checks(verdict)]
    if verdict["points"] * 100 < verdict["threshold"] * verdict["of"]:
        decided.append(tr("too few points", "分数不足"))
    return text + tr("; what decided it: ", "；决定因素：") + visible("; ".join(decided))
