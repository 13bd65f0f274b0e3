"""The verdicts as GitHub annotations."""

from __future__ import annotations

from collections.abc import Sequence

from lesson.core.findings import format_annotation
from lesson.submission.reports.wording import visible


def render(verdicts: Sequence[dict]) -> str:
    """GitHub annotations, one for each check that failed or could not be judged."""
    lines = []
    for verdict in verdicts:
        for result in verdict["checks"]:
            kind = {"failed": "error", "unjudged": "warning"}.get(result["status"])
            if kind:
                text = visible(f"{result['found']}; {result['remedy']}")
                lines.append(format_annotation(kind, verdict["submission"], result["title"], text) + "\n")
    return "".join(lines)
