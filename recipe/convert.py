"""make convert: XTuner's checkpoint as a Hugging Face adapter (safetensors, with a model card) in the run folder."""

from __future__ import annotations

import sys

from lesson.core import cli
from lesson.core.settings import Values
from lesson.training.convert import convert_checkpoint, lines_of

SETTINGS = ("PROFILE", "BUILD", "RUN", "FORCE")


def stage(values: Values) -> int:
    print(*lines_of(convert_checkpoint(values)), sep="\n")
    return 0


def main(arguments: list[str]) -> int:
    return cli.run("convert", __doc__, SETTINGS, stage, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
