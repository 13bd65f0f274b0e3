"""make: every target with one line of help and the variables that it takes, read from the Makefile and the settings.

Standard library only: a newcomer types `make` before anything is installed.
"""

from __future__ import annotations

import sys

from lesson.core import cli
from lesson.core.settings import ROOT, Values
from lesson.install.help import lines_of


def stage(values: Values) -> int:
    print(*lines_of((ROOT / "Makefile").read_text(encoding="utf-8")), sep="\n")
    return 0


def main(arguments: list[str]) -> int:
    return cli.run("help", __doc__, [], stage, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
