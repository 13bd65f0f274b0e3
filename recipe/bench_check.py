"""make bench-check: hundreds of tiny submissions with two jobs, and one of the 7B size; seconds and peak memory of each.

    python -m recipe.bench_check [COUNT] [--jobs 2] [--build build/bench-check]

The submissions are made by tests/make_submissions.py: each with an adapter, losses and a log of its own, twenty names.
Exit status 1 when a bar of docs/figures.md is missed or an honest submission does not pass.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lesson.bench.checker import lines_of, make_submissions, measure_checker
from lesson.core import cli
from lesson.core.settings import ROOT

MAKER = ROOT / "tests" / "make_submissions.py"


def stage(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m recipe.bench_check", description=__doc__.splitlines()[0])
    parser.add_argument("count", nargs="?", type=int, default=500)
    parser.add_argument("--jobs", default="2")
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "bench-check")
    options = parser.parse_args(arguments)
    build, met = options.build.resolve(), True
    make_submissions(MAKER, build, options.count)
    for time in measure_checker(build, options.count, options.jobs):
        print(*lines_of(time), sep="\n", flush=True)
        met = met and time.met
    return 0 if met else 1


def main(arguments: list[str]) -> int:
    """Exit status: 0 measured and passed, 1 a bar missed, 2 unusable input."""
    return cli.guarded(lambda: stage(arguments))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
