"""make bench-gpus: how training grows with the GPUs of this host: fast, stock with ZeRO-2 and stock without, on 1, 2, 4, 8.

One random base of the 7B shape, the shipped rows in packs of 2048 tokens. With the same batch on each GPU and with the same
batch in all: tokens per second, efficiency against one GPU, memory, seconds to the first step. Prints the tables of
docs/performance.md and writes BUILD/bench-gpus/figures.json, which has each row as soon as it is measured. PROFILE=tiny
tries it with two processes on the CPU.
"""

from __future__ import annotations

import os
import sys

from lesson.bench.gpus import lines_of, measure_growth
from lesson.core import cli
from lesson.core.settings import ROOT, Values

SETTINGS = ("PROFILE", "BUILD")


def stage(values: Values) -> int:
    found = measure_growth(values, cli.show_line)
    print("", *lines_of(found), found.file, sep="\n")
    return 1 if any(row.error for row in found.rows) else 0


def main(arguments: list[str]) -> int:
    os.chdir(ROOT)
    return cli.run("bench_gpus", __doc__, SETTINGS, stage, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
