"""make base: rebuild the tiny base model from scratch, from text of our own, and compare it with the one that ships.

The base is InternLM2's architecture in small, through the modelling files of the installed xtuner. It is trained on
conversations made from data/banks in the very form in which XTuner feeds rows to a model: packed one after another, and
also alone, as at inference. `python -m recipe.base --update` puts the result into data/tiny-base.
"""

from __future__ import annotations

import sys

from lesson.authoring import tiny_base
from lesson.core import cli
from lesson.core.settings import Values

SETTINGS = ("PROFILE", "BUILD")


def stage(values: Values, update: bool) -> int:
    print(*tiny_base.lines_of(tiny_base.rebuild_base(values, sys.stderr, update)), sep="\n")
    return 0


def main(arguments: list[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    update = "--update" in arguments  # for those who keep this repository; not a setting of the lesson
    if update:
        arguments.remove("--update")
    return cli.run("base", __doc__, SETTINGS, lambda values: stage(values, update), arguments)


if __name__ == "__main__":
    sys.exit(main())
