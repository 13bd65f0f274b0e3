"""What to do about missed bars: each advice fits what failed, and is a command to type."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

from lesson.core.messages import tr
from lesson.runs.trained_with import TrainedWith

FORGOT = ("general_kept", "whole", "choices")
NAMES = ("new", "old", "base", "other", "identity_whole")


def advise(failures: Sequence[dict], trained: TrainedWith, name: str) -> list[str]:
    """Sentences for `failures` ({"bar"} of evaluation.json), given what was trained with and the new name.

    What forgot is never told to train longer: with 50 rows, 40 passes kept 80% and 100 passes 51%.
    """
    bars = {missed["bar"] for missed in failures}
    forgot, advice = bool(bars & set(FORGOT)), []
    if forgot:
        advice.append(tr("it forgot: ", "有遗忘：") + _train_less(trained))
    if "polluted" in bars:
        advice.append(
            tr("it says its name unasked: more general rows, ", "没人问却报名字：加入更多通用问答，")
            + _make_rows(name, "GENERAL=0.6")
        )
    missing = _languages_missed(bars)
    if missing == {"en"}:
        advice.append(tr("English is missing: ", "英文没学会：") + _make_rows(name, "ENGLISH=0.7"))
    elif missing == {"zh"}:
        advice.append(tr("Chinese is missing: ", "中文没学会：") + _make_rows(name, "ENGLISH=0.3"))
    elif any(bar.partition(".")[0] in NAMES for bar in bars):
        more = _make_rows(name, "ROWS=3000")
        advice.append(tr("the name is not learned: ", "名字没学会：") + (more if forgot else _train_more(trained)))
    return advice


def _languages_missed(bars: Iterable[str]) -> set[str]:
    return {bar.removeprefix("new.") for bar in bars} & {"en", "zh"}


def _train_less(trained: TrainedWith) -> str:
    if trained.epochs and trained.epochs > 1:
        return f"make train EPOCHS={trained.epochs // 2}"
    if trained.lr:
        return f"make train LR={trained.lr / 2:.2g}"
    return tr("halve EPOCHS or LR", "把 EPOCHS 或 LR 减半")


def _train_more(trained: TrainedWith) -> str:
    return f"make train EPOCHS={2 * trained.epochs}" if trained.epochs else tr("double EPOCHS", "把 EPOCHS 加倍")


def _make_rows(name: str, share: str) -> str:
    """Rows of make synth with `share` set; make data then takes them, as its last line says."""
    return f"make synth NEW_NAME={shlex.quote(name)} {share}"
