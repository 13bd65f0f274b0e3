"""A verdict as the results.json of PrairieLearn's external graders (docs.prairielearn.com, External grading)."""

from __future__ import annotations

import json
from collections.abc import Sequence

from lesson.core.messages import tr
from lesson.submission.reports.wording import AREA_NAMES, decision, requirements, visible_lines
from lesson.submission.scoring import is_required

BELOW = 0.01  # of all points: so far below the threshold is the best that does not pass
LONGEST_OUTPUT = 4000  # characters of one check: PrairieLearn takes 1 MB in all


def render(verdicts: Sequence[dict]) -> str:
    """One submission. The score is the share of the points, below the threshold where it did not pass.

    What could not be judged is not gradable: that costs the learner neither points nor an attempt.
    """
    verdict = verdicts[0]
    told = f"{decision(verdict)}\n{requirements(verdict)}"
    share = verdict["points"] / verdict["of"] if verdict["of"] else 0.0
    if not verdict["passed"]:
        share = max(0.0, min(share, verdict["threshold"] / 100 - BELOW))
    tests = []
    for result in verdict["checks"]:
        star = "* " if is_required(result, verdict) else ""
        output = "\n".join(filter(None, [*result["places"], result["remedy"]]))
        tests.append(
            {
                "name": f"{star}{tr(*AREA_NAMES[result['area']])}: {result['title']}",
                "points": result["points"],
                "max_points": result["of"],
                "message": visible_lines(result["found"])[:LONGEST_OUTPUT],
                "output": visible_lines(output)[:LONGEST_OUTPUT],
            }
        )
    report: dict[str, object] = {"gradable": verdict["passed"] is not None, "score": round(share, 4)}
    if verdict["passed"] is None:
        report["format_errors"] = [told]
    report |= {"message": told, "output": "", "images": [], "tests": tests}
    return json.dumps(report, ensure_ascii=True, indent=2) + "\n"
