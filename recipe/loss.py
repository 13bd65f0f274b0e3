"""Are two loss curves the same? Identical, within the band for other machines, or outside; with a picture of both.

`make compare-loss A=… B=…`: each a run's ID or its beginning, a run folder, a run.json, a golden (golden/loss/*.json)
or a curve.jsonl. Without A it is the current run; without B, the golden of that run's profile, speed and machine.
Exit status 0: identical or within the band, 1: outside.
"""

from __future__ import annotations

import json
import sys

from lesson.core import cli
from lesson.core.settings import Values
from lesson.runs.compare_loss import compare_losses, document_of, lines_of

SETTINGS = ("PROFILE", "BUILD", "A", "B", "FORMAT")


def stage(values: Values) -> int:
    result = compare_losses(values)
    if values.format == "json":
        print(json.dumps(document_of(result), indent=2))
    else:
        print(*lines_of(result), sep="\n")
    return 0 if result.same else 1


def main(arguments: list[str]) -> int:
    return cli.run("loss", __doc__, SETTINGS, stage, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
