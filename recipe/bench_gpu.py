"""make bench-gpu: tokens per second, memory and model FLOP utilisation at 7B on this machine's GPU, side by side.

One random base of the real shape, the shipped rows in packs of 2048 tokens, batch 1. Trained through make's own stages:
stock as the lesson has it (DeepSpeed ZeRO-2), stock without DeepSpeed, and the variants of fast. Then those of the trainers
RIVALS (unsloth trl axolotl nemo; none for none) that are installed, each in .venv-rivals/NAME, on the same rows, LoRA and
batch, and fast on their base; of one that is not, what to type is said. Prints a table and writes BUILD/bench-gpu/figures.json.
"""

from __future__ import annotations

import os
import sys

from lesson.bench.gpu import lines_of, measure_trainers
from lesson.core import cli
from lesson.core.settings import ROOT, Values

SETTINGS = ("BUILD", "NEW_NAME", "RIVALS")


def stage(values: Values) -> int:
    found = measure_trainers(values, cli.show_line)
    print("", *lines_of(found), found.file, sep="\n")
    return 0


def main(arguments: list[str]) -> int:
    os.chdir(ROOT)
    return cli.run("bench_gpu", __doc__, SETTINGS, stage, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
