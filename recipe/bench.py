"""make bench: measure the figures of the README's table on this machine, in one run, and print them beside their bars.

Two whole lessons in empty folders (build/bench/a and b, same seed), a third with SPEED=fast, the evaluation of the first
and the third, and the two test commands. Takes about twenty minutes on two cores; nothing of it is timed by a test.
"""

from __future__ import annotations

import os
import sys

from lesson.bench.lesson import FIGURES, lines_of, measure_lesson
from lesson.core import cli
from lesson.core.settings import ROOT, Values

SETTINGS = ("NEW_NAME",)


def stage(values: Values) -> int:
    figures = measure_lesson(values.new_name, cli.show_line)
    print("", *lines_of(figures, values.new_name), FIGURES, sep="\n")
    return 0 if all(figure.met for figure in figures) else 1


def main(arguments: list[str]) -> int:
    os.chdir(ROOT)
    return cli.run("bench", __doc__, SETTINGS, stage, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
