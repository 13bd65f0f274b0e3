"""make merge: adapter and base as one model in the run folder; fails when the merged weights equal the base's."""

from __future__ import annotations

import sys
from functools import partial

from lesson.core import cli
from lesson.core.settings import Values
from lesson.training.merge import lines_of, merge_adapter
from lesson.training.progress import Display

SETTINGS = ("PROFILE", "BUILD", "FORCE")


def stage(values: Values) -> int:
    made = merge_adapter(values, Display(partial(print, flush=True), partial(print, file=sys.stderr)))
    print(*lines_of(made), sep="\n")
    return 0


def main(arguments: list[str]) -> int:
    return cli.run("merge", __doc__, SETTINGS, stage, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
