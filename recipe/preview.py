"""make preview: the first rows as a person reads them, and as the model sees them.

The second view is XTuner's own: its template, its tokenisation, its labels. Tokens that are trained on are green on a
terminal and between ⟦ ⟧ elsewhere; all others are masked.
"""

from __future__ import annotations

import os
import sys

from lesson.core import cli
from lesson.core.settings import Values
from lesson.evaluation.preview import preview_rows

SETTINGS = ("PROFILE", "BUILD", "SRC", "ROWS")


def stage(values: Values) -> int:
    for line in preview_rows(values, colour=sys.stdout.isatty() and "NO_COLOR" not in os.environ):
        print(line)
    return 0


def main(arguments: list[str] | None = None) -> int:
    return cli.run("preview", __doc__, SETTINGS, stage, sys.argv[1:] if arguments is None else arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
