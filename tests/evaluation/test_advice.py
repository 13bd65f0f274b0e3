"""The advice fits what failed, and what it says to type is what make takes."""

from __future__ import annotations

import re
import shlex

import pytest

from lesson.core.messages import set_language
from lesson.core.settings import ROOT, SETTINGS
from lesson.evaluation.advice import advise
from lesson.install.command_line import judge_command_line
from lesson.runs.trained_with import TrainedWith

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
WITH = TrainedWith(epochs=4, lr=3e-4)


def said(*bars: str, trained: TrainedWith = WITH) -> str:
    return "; ".join(advise([{"bar": bar} for bar in bars], trained, "Little Fox"))


@pytest.mark.parametrize(
    ("bars", "trained", "commands"),
    [
        (["general_kept"], WITH, ["make train EPOCHS=2"]),
        (["whole"], TrainedWith(1, 3e-4), ["make train LR=0.00015"]),
        (["choices"], WITH, ["make train EPOCHS=2"]),
        (["new"], WITH, ["make train EPOCHS=8"]),
        (["new.en", "new"], WITH, ["make synth NEW_NAME='Little Fox' ENGLISH=0.7"]),
        (["new.zh"], WITH, ["make synth NEW_NAME='Little Fox' ENGLISH=0.3"]),
        (["new.en", "new.zh"], WITH, ["make train EPOCHS=8"]),
        (["polluted"], WITH, ["make synth NEW_NAME='Little Fox' GENERAL=0.6"]),
        (["general_kept", "old"], WITH, ["make train EPOCHS=2", "make synth NEW_NAME='Little Fox' ROWS=3000"]),
    ],
)
def test_each_failure_has_its_own_command(bars, trained, commands):
    text = said(*bars, trained=trained)
    assert re.findall(r"make [^;,，；]+", text) == commands
    for command in commands:
        target, *given = shlex.split(command)[1:]
        assert judge_command_line(MAKEFILE, [target], [word.partition("=")[0] for word in given], {}) is None
        for variable, value in (word.split("=") for word in given):
            SETTINGS[variable].parse(value)


def test_what_forgot_is_never_told_to_train_longer():
    for bars in (["general_kept", "new"], ["whole", "new.old"], ["general_kept", "base", "new.en"]):
        assert "EPOCHS=8" not in said(*bars)


def test_without_the_run_s_values_the_advice_is_in_words():
    assert said("general_kept", trained=TrainedWith()) == "it forgot: halve EPOCHS or LR"
    set_language("zh")
    assert said("new", trained=TrainedWith()) == "名字没学会：把 EPOCHS 加倍"
