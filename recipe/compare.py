"""make compare A=… B=…: two runs side by side: what differs in their records, then the key figures, then the curves.

A and B are runs of BUILD, by their ID or its beginning, run folders, or run.json files. Exit status 0 whatever differs.
"""

from __future__ import annotations

import json
import sys

from lesson.core import cli
from lesson.core.settings import Values
from lesson.runs.compare import compare_runs, document_of, lines_of

SETTINGS = ("PROFILE", "BUILD", "A", "B", "FORMAT")


def stage(values: Values) -> int:
    result = compare_runs(values)
    if values.format == "json":
        print(json.dumps(document_of(result), ensure_ascii=False, indent=2))
    else:
        print(*lines_of(result), sep="\n")
    return 0


def main(arguments: list[str]) -> int:
    return cli.run("compare", __doc__, SETTINGS, stage, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
