"""make bench-small: the lesson on a real base of 0.1 to 2B on this machine, timed, beside a plain PEFT loop.

MODEL= names the base's folder. Every stage from data to check below BUILD/bench-small, at PROFILE=small with nothing
else set; then steps of ours and of a loop as one would write it with transformers and PEFT, in turn. Prints tokens per
second, their ratio, memory and the time of each stage beside their bars; writes figures.json. The same command goes on
where it was stopped; FORCE=1 starts anew. `python -m recipe.bench_small --short` trains one pass over some rows only.
"""

from __future__ import annotations

import os
import sys
from functools import partial

from lesson.bench.small import lines_of, measure_small
from lesson.core import cli
from lesson.core.settings import ROOT, Values

SETTINGS = ("BUILD", "MODEL", "SRC", "NEW_NAME", "FORCE")


def stage(values: Values, whole: bool) -> int:
    found, file = measure_small(values, whole, partial(print, flush=True))
    print("", *lines_of(found), file, sep="\n")
    return 0


def main(arguments: list[str]) -> int:
    arguments = list(arguments)
    whole = "--short" not in arguments  # for those who keep this repository; not a setting of the lesson
    if not whole:
        arguments.remove("--short")
    os.chdir(ROOT)
    return cli.run("bench_small", __doc__, SETTINGS, lambda values: stage(values, whole), arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
