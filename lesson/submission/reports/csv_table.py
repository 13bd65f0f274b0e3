"""The verdicts as a table for a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from lesson.submission.reports.wording import visible


def render(verdicts: Sequence[dict]) -> str:
    """A line for each submission, a column for each check, for a spreadsheet that must take no cell for a formula."""

    def cell(value: object) -> str:
        text = visible(str(value))
        return "'" + text if text[:1] in ("=", "+", "-", "@") and not isinstance(value, int | float) else text

    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = [result["check"] for result in verdicts[0]["checks"]]
    writer.writerow(["submission", "who", "name", "passed", "points", "of", "seconds", *names])
    for v in verdicts:
        head = [v["submission"], v["who"] or "", v["names"]["new"] or "", {None: "", True: 1, False: 0}[v["passed"]]]
        status = [result["status"] for result in v["checks"]]
        writer.writerow([cell(x) for x in [*head, v["points"], v["of"], v["seconds"], *status]])
    return out.getvalue()
