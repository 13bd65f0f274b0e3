"""make convert: XTuner's checkpoint as a Hugging Face adapter (safetensors, with a model card) in the run folder.

For make web, which shows a training that is not finished, there may be nothing to convert yet.
"""

from __future__ import annotations

import os
import sys

from lesson.core import cli
from lesson.core.settings import Values
from lesson.runs.environment import UNFINISHED
from lesson.runs.watching import find_unfinished_run
from lesson.training.convert import convert_checkpoint, lines_of

SETTINGS = ("PROFILE", "BUILD", "RUN", "FORCE")


def stage(values: Values) -> int:
    if os.environ.get(UNFINISHED) and find_unfinished_run(values):
        return 0
    print(*lines_of(convert_checkpoint(values)), sep="\n")
    return 0


def main(arguments: list[str]) -> int:
    return cli.run("convert", __doc__, SETTINGS, stage, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
