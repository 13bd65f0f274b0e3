"""PrairieLearn's results.json: a share of the points that passes or not, and what could not be judged costs nothing."""

from __future__ import annotations

import json
import sys

import pytest
import submissions
from verdicts import verdict_on

from lesson.core.messages import UserError
from lesson.submission.reports.choice import choose_reports, render_report, write_reports


@pytest.mark.parametrize(
    "passed, points, gradable, score",
    [
        (True, 90, True, 0.9),
        (True, 100, True, 1.0),
        (False, 95, True, 0.79),
        (False, 30, True, 0.3),
        (None, 70, False, 0.7),
    ],
)
def test_the_score_is_below_the_threshold_where_it_did_not_pass(tmp_path, passed, points, gradable, score):
    found = verdict_on(submissions.pack(submissions.honest_files(), tmp_path / "s"))
    found |= {"passed": passed, "points": points, "of": 100, "threshold": 80}
    report = json.loads(render_report("prairielearn", [found]))
    assert (report["gradable"], report["score"]) == (gradable, score)
    assert ("format_errors" in report) is (passed is None) and report["images"] == []


def test_the_form_is_named_before_the_file(tmp_path):
    found = verdict_on(submissions.pack(submissions.honest_files(), tmp_path / "s"))
    chosen = choose_reports(f"prairielearn:{tmp_path}/a/results.json,gradescope:{tmp_path}/b.txt,results.json,github")
    assert [form for _, form in chosen] == ["prairielearn", "gradescope", "gradescope", "github"]
    (tmp_path / "a").mkdir()
    write_reports(chosen[:2], [found], sys.stdout)
    assert json.loads((tmp_path / "a" / "results.json").read_text())["score"] == 1.0
    assert json.loads((tmp_path / "b.txt").read_text())["score"] == found["points"]
    with pytest.raises(UserError):
        choose_reports("moodle:x.txt")
