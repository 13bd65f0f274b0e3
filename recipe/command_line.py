"""What was typed after make, judged before anything runs: the Makefile asks, and stops with the line that is printed.

    python -m recipe.command_line GOALS VARIABLES

Both are names separated by spaces. Nothing is printed when all of them are known and used. Standard library only.
"""

from __future__ import annotations

import os
import sys

from lesson.core.settings import ROOT
from lesson.install.command_line import judge_command_line


def main(arguments: list[str]) -> int:
    goals, given = [*arguments, "", ""][:2]
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    print(judge_command_line(text, goals.split(), given.split(), os.environ) or "", end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
