"""Every form of report escapes what a stranger handed in."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree

import hostile
from verdicts import verdict_on

from lesson.submission.reports.choice import render_report


def test_reports_escape_what_was_submitted(tmp_path):
    found = verdict_on(hostile.HOSTILE["escapes_and_scripts"](tmp_path, tmp_path / "canary"))
    page, annotations = render_report("html_page", [found]), render_report("github", [found])
    assert "<script" not in page and "onerror=alert" in page and "<polyline" in page
    assert "\x1b" not in page + annotations + render_report("junit", [found]) + render_report("gradescope", [found])
    assert all(line.startswith("::") and "set-output" not in line.split("::")[1] for line in annotations.splitlines())
    ElementTree.fromstring(render_report("junit", [found]))
    assert json.loads(render_report("gradescope", [found]))["score"] == found["points"]
    assert render_report("csv_table", [found | {"who": "=1+1"}]).splitlines()[1].split(",")[1] == "'=1+1"
