"""make: every target with one line of help and the variables that it takes, read from the Makefile and the settings.

Standard library only: a newcomer types `make` before anything is installed.
"""

from __future__ import annotations

import re
import sys

from lesson.core import cli
from lesson.core.messages import language, tr
from lesson.core.settings import ROOT, SETTINGS, TRAINING, Setting, Values
from lesson.core.text import display_width

TARGET = re.compile(r"^([a-z0-9-]+):[^#]*## (.*?) \| (.*?)(?: \| (.*))?$")


def targets(text: str) -> list[tuple[str, str, str, list[str]]]:
    """[(target, help in English, help in Chinese, variables)] from lines `target: ## English | 中文 | VARIABLES`."""
    found = []
    for line in text.splitlines():
        match = TARGET.match(line)
        if match:
            name, en, zh, variables = match.groups()
            found.append((name, en.strip(), zh.strip(), (variables or "").split()))  # "training": see `show`
    return found


def line(setting: Setting) -> None:
    """One variable: name, help, default."""
    print(f"  {setting.name:<19}{tr(setting.en, setting.zh)}" + (f" [{setting.default}]" if setting.default else ""))


def show(values: Values) -> int:
    rows = targets((ROOT / "Makefile").read_text(encoding="utf-8"))
    print(
        tr(
            "make setup; make data NEW_NAME=… && make train; make eval; make chat",
            "make setup；make data NEW_NAME=… && make train；make eval；make chat",
        )
    )
    print(tr("\ntargets", "\n目标"))
    for name, en, zh, variables in rows:
        text = zh if language() == "zh" else en
        gap = " " * max(1, 62 - display_width(text))
        print(f"  {name:<14}{text}" + (gap + " ".join(variables) if variables else ""))
    training = [setting.name for setting in TRAINING]
    used = {v for *_, variables in rows for v in variables}
    print(tr("\nvariables, as in make data NEW_NAME=闻星", "\n变量，例如 make data NEW_NAME=闻星"))
    for setting in SETTINGS.values():
        if setting.name in used | {"PROFILE", "BUILD", "LANG"} and setting.name not in training:
            line(setting)
    print(
        tr(
            "\nvariables of training, taken by make config; unset: the profile's value",
            "\n训练参数，用于 make config；不设则用配置档的值",
        )
    )
    for setting in TRAINING:
        line(setting)
    return 0


def main(arguments: list[str] | None = None) -> int:
    return cli.run("help", __doc__, [], show, sys.argv[1:] if arguments is None else arguments)
