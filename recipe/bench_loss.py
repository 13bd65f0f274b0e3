"""make bench-loss: how far loss curves differ between machines, engines and seeds: the measurement behind the band.

Trains the tiny lesson once in each way below, in build/bench-loss, and prints each curve's difference from the first.
A way whose curve is there already is not trained again. Takes about a quarter of an hour on two cores.
"""

from __future__ import annotations

import os
import sys

from lesson.bench.loss import compare_ways, heading_line, line_of
from lesson.core import cli
from lesson.core.settings import ROOT, Values

SETTINGS = ("NEW_NAME",)


def stage(values: Values) -> int:
    print(heading_line(), flush=True)
    for compared in compare_ways(values.new_name):
        print(line_of(compared), flush=True)
    return 0


def main(arguments: list[str]) -> int:
    os.chdir(ROOT)
    return cli.run("bench_loss", __doc__, SETTINGS, stage, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
