"""A verdict as Gradescope's results.json."""

from __future__ import annotations

import json
from collections.abc import Sequence

from lesson.core.messages import tr
from lesson.submission.reports.wording import AREA_NAMES, decision, requirements, visible_lines
from lesson.submission.scoring import is_required


def render(verdicts: Sequence[dict]) -> str:
    """Gradescope's results.json (gradescope-autograders.readthedocs.io/en/latest/specs): one submission."""
    verdict = verdicts[0]
    tests = []
    for result in verdict["checks"]:
        output = "\n".join(filter(None, [result["found"], *result["places"], result["remedy"]]))
        star = "* " if is_required(result, verdict) else ""
        test = {"name": f"{star}{tr(*AREA_NAMES[result['area']])}: {result['title']}", "output": visible_lines(output)}
        test |= {"output_format": "text", "visibility": "visible"}
        if result["of"]:
            test |= {"score": result["points"], "max_score": result["of"]}
        if result["status"] in ("passed", "failed"):
            test["status"] = result["status"]
        tests.append(test)
    report = {
        "score": verdict["points"],
        "execution_time": verdict["seconds"],
        "output": f"{decision(verdict)}\n{requirements(verdict)}",
        "output_format": "text",
        "tests": tests,
    }
    return json.dumps(report, ensure_ascii=True, indent=2) + "\n"
