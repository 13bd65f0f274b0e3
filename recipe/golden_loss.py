"""make golden-loss: the loss curve of a finished run, in full precision, as a golden that later runs are held against.

Reads the current run (or A=, a run's ID or folder); writes golden/loss/PROFILE[-SPEED][-N-ranks]-MACHINE.json
(schemas/loss.schema.json). The comparison is lesson/runs/loss_band.py.
"""

from __future__ import annotations

import sys

from lesson.core import cli
from lesson.core.settings import Values
from lesson.runs.golden_loss import keep_golden, lines_of

SETTINGS = ("PROFILE", "BUILD", "A")


def stage(values: Values) -> int:
    print(*lines_of(keep_golden(values)), sep="\n")
    return 0


def main(arguments: list[str]) -> int:
    return cli.run("golden_loss", __doc__, SETTINGS, stage, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
