"""What `make` alone prints: every target with its help and the variables that it takes, from the Makefile and settings.

Standard library only: a newcomer types `make` before anything is installed.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from lesson.core.messages import tr
from lesson.core.settings import SETTINGS, TRAINING, Setting
from lesson.core.text import display_width

TARGET = re.compile(r"^([a-z0-9-]+):[^#]*## (.*?) \| (.*?)(?: \| (.*))?$")
ALWAYS_TAKEN = ("PROFILE", "BUILD", "LANG")  # by every target


class Target(NamedTuple):
    """A target of the Makefile; "training" among its variables stands for all training parameters."""

    name: str
    en: str
    zh: str
    variables: list[str]


def read_targets(makefile: str) -> list[Target]:
    """The targets with help among the Makefile's lines: `target: ## English | 中文 | VARIABLES`."""
    matches = filter(None, map(TARGET.match, makefile.splitlines()))
    return [Target(m[1], m[2].strip(), m[3].strip(), (m[4] or "").split()) for m in matches]


def target_line(target: Target) -> str:
    """A target: name, help, variables."""
    text = tr(target.en, target.zh)
    gap = " " * max(1, 62 - display_width(text))
    return f"  {target.name:<14}{text}" + (gap + " ".join(target.variables) if target.variables else "")


def variable_line(setting: Setting) -> str:
    """A variable: name, help, default."""
    return f"  {setting.name:<19}{tr(setting.en, setting.zh)}" + (f" [{setting.default}]" if setting.default else "")


def lines_of(makefile: str) -> list[str]:
    """The help, line by line, from the Makefile's text."""
    targets = read_targets(makefile)
    training = {setting.name for setting in TRAINING}
    taken = {name for target in targets for name in target.variables}.union(ALWAYS_TAKEN) - training
    return [
        tr(
            "make setup; make data NEW_NAME=… && make train; make eval; make chat",
            "make setup；make data NEW_NAME=… && make train；make eval；make chat",
        ),
        "",
        tr("targets", "目标"),
        *map(target_line, targets),
        "",
        tr("variables, as in make data NEW_NAME=闻星", "变量，例如 make data NEW_NAME=闻星"),
        *(variable_line(setting) for setting in SETTINGS.values() if setting.name in taken),
        "",
        tr(
            "variables of training, taken by make config; unset: the profile's value",
            "训练参数，用于 make config；不设则用配置档的值",
        ),
        *map(variable_line, TRAINING),
    ]
