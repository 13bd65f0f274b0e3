"""make runs: the runs of BUILD with their key figures, newest first; FORMAT=json for programs.

Reads BUILD/runs/*: the record of a finished run, the curve of one that is not, the evaluation where there is one. What
cannot be read shows as unknown, so that one broken run does not hide the others.
"""

from __future__ import annotations

import json
import sys

from lesson.core import cli
from lesson.core.settings import Values
from lesson.runs.listing import lines_of, list_runs

SETTINGS = ("PROFILE", "BUILD", "FORMAT")


def stage(values: Values) -> int:
    result = list_runs(values.build)
    if values.format == "json":
        print(json.dumps(result, ensure_ascii=False, indent=2))
    else:
        print(*lines_of(result, values.build), sep="\n")
    return 0


def main(arguments: list[str]) -> int:
    return cli.run("list_runs", __doc__, SETTINGS, stage, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
