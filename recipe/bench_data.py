"""make bench-data: replacement and validation side by side with the published script, rows per second and memory.

    python -m recipe.bench_data [--megabytes 100] [--runs 3] [--large 2000] [--src FILE] [--kinds reordered]

Files are made from the source rows: `repeated` (the rows over and over), `distinct` (every question with a number of its
own, so that no memory of rows seen before helps) and, where asked for, `reordered` (other orders of keys). Every run is a process of its own, bound to one core (two for
`--jobs 2`), start of Python included; runs of all programs take turns and the best of each counts, so that a busy machine
disturbs all alike. Outputs are compared byte by byte with the published script's.
"""

from __future__ import annotations

import argparse
import sys

from lesson.bench.data import KINDS, measure_data_stage
from lesson.core import cli
from lesson.core.messages import UserError, set_language, tr
from lesson.core.settings import SETTINGS, Values


def stage(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m recipe.bench_data", description=__doc__.splitlines()[0])
    parser.add_argument("--src", default=SETTINGS["SRC"].default, metavar="FILE")
    parser.add_argument("--megabytes", type=int, default=100, metavar="MB")
    parser.add_argument("--runs", type=int, default=3, metavar="N")
    parser.add_argument("--large", type=int, default=2000, metavar="MB", help=tr("0 leaves it out", "0 为不测"))
    parser.add_argument("--kinds", nargs="+", default=KINDS[:2], choices=KINDS)
    parser.add_argument("--lang", default=None)
    options = parser.parse_args(arguments)
    set_language(options.lang)
    if not 1 <= options.megabytes <= 10_000 or not 1 <= options.runs <= 100 or not 0 <= options.large <= 100_000:
        wanted = "--megabytes 100 --runs 3 --large 2000"
        raise UserError("--megabytes, --runs, --large", tr("out of range", "超出范围"), wanted)
    build = Values({}).build
    measure_data_stage(options.src, options.megabytes, options.runs, options.large, build, cli.show_line, options.kinds)
    return 0


def main(arguments: list[str], stdout=None, stderr=None) -> int:
    """Exit status: 0 measured, 2 unusable input."""
    return cli.guarded(lambda: stage(arguments), stdout, stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
