"""make smoke-7b: the whole lesson at 7B on this machine's GPU, with random weights, in a few minutes; all removed after.

Every stage runs as make runs it, on a random base of the real shape (lesson/model/random_base.py), one epoch of the shipped
rows, 22 steps. What it learned means nothing; that it trains, in which memory, and what it leaves, is checked. Each
check's docstring is the line that is printed. `pytest -m gpu` runs the same checks.
"""

from __future__ import annotations

import os
import sys

from lesson.bench.smoke import lines_of, smoke_test
from lesson.core import cli
from lesson.core.settings import ROOT, Values

SETTINGS = ("PROFILE", "SPEED", "QUANT", "BUILD", "NEW_NAME", "DEEPSPEED", "FORCE")


def stage(values: Values) -> int:
    result = smoke_test(values)
    print(*lines_of(result), sep="\n")
    return 0 if all(result.checks.values()) else 1


def main(arguments: list[str]) -> int:
    os.chdir(ROOT)
    return cli.run("smoke", __doc__, SETTINGS, stage, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
