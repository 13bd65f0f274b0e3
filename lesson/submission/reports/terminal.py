"""A verdict for people at a terminal, and as JSON on standard output."""

from __future__ import annotations

import json

from lesson.core.messages import tr
from lesson.submission.reports.wording import AREA_NAMES, MARKS, decision, requirements, visible
from lesson.submission.scoring import is_required

PLACES = 5  # of one finding; the JSON report has all


def verdict_lines(verdict: dict) -> list[str]:
    """A line for each check, its reason, and what to do about those that failed."""
    who = f" ({visible(verdict['who'])})" if verdict["who"] else ""
    lines = [f"{visible(verdict['submission'])}{who}"]
    area = None
    for result in verdict["checks"]:
        if result["area"] != area:
            area = result["area"]
            lines.append(f"{tr(*AREA_NAMES[area])}:")
        star = "* " if is_required(result, verdict) else ""
        lines.append(f"  {MARKS[result['status']]} {star}{visible(result['title'])}: {visible(result['found'])}")
        if result["status"] in ("failed", "unjudged"):
            lines += [f"         {visible(place)}" for place in result["places"][:PLACES]]
            if (more := len(result["places"]) - PLACES) > 0:
                lines.append(tr(f"         … {more} more in the JSON report", f"         … 另有 {more} 处见 JSON 报告"))
            lines.append("       → " + visible(result["remedy"]))
    lines += ["  " + visible(note) for note in verdict["notes"]]
    return [*lines, requirements(verdict), decision(verdict)]


def json_text(verdicts: list[dict]) -> str:
    """One verdict as an object, several as a list; what UTF-8 cannot hold is escaped."""
    value = verdicts if len(verdicts) > 1 else verdicts[0]
    return json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False).encode("utf-8", "backslashreplace").decode()
