"""make merge: adapter and base as one model in the run folder; fails when the merged weights equal the base's."""

from __future__ import annotations

import sys

from lesson.core import cli
from lesson.core.settings import Values
from lesson.training.merge import lines_of, merge_adapter

SETTINGS = ("PROFILE", "BUILD", "RUN", "FORCE")


def stage(values: Values) -> int:
    print(*lines_of(merge_adapter(values, report=print)), sep="\n")
    return 0


def main(arguments: list[str]) -> int:
    return cli.run("merge", __doc__, SETTINGS, stage, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
