"""What is required, where the threshold lies and what decided stand in every form that people read."""

from __future__ import annotations

import json

import mutations
import pytest
import submissions
from verdicts import shipped_rubric, verdict_on

from lesson.core.messages import set_language
from lesson.submission.reports.choice import render_report
from lesson.submission.reports.terminal import verdict_lines
from lesson.submission.scoring import award_points, deciding_checks


@pytest.fixture(scope="module")
def skipped(tmp_path_factory):
    """An honest submission without its rows: most points, and required checks that nothing could be said of."""
    files = submissions.honest_files()
    del files[submissions.DATA]
    return verdict_on(submissions.pack(files, tmp_path_factory.mktemp("skipped") / "s"))


def forms(verdict: dict) -> list[str]:
    gradescope = json.loads(render_report("gradescope", [verdict]))["output"]
    return ["\n".join(verdict_lines(verdict)), render_report("html_page", [verdict]), gradescope]


def test_a_skipped_required_check_is_named_as_what_decided(skipped):
    assert skipped["passed"] is False and skipped["points"] * 100 > 80 * skipped["of"] * 0.9
    names = {result["check"] for result in deciding_checks(skipped)}
    assert {"replaced", "named", "held_out"} <= names and {"own", "rerun_says_new"}.isdisjoint(names)
    for text in forms(skipped):
        decided = next(line for line in text.splitlines() if "what decided it" in line)
        assert "nothing is left of the old name (skipped)" in decided
        assert f"{skipped['points']:g}/{skipped['of']:g}" in decided


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_threshold_and_the_required_checks_stand_in_every_form(tmp_path, language):
    found = verdict_on(submissions.pack(submissions.honest_files(), tmp_path / "s"))
    set_language(language)
    for text in forms(found):
        assert "80%" in text and "*" in text and f"{-(-found['of'] * 80 // 100):g}" in text
    assert sum("  ok   * " in line for line in forms(found)[0].splitlines()) >= 15


def test_too_few_points_are_told_and_an_accusation_decides(tmp_path):
    found = verdict_on(submissions.pack(submissions.honest_files(), tmp_path / "s"))
    for result in found["checks"]:
        if result["check"] in (
            "steps",
            "log",
            "complete",
            "data_rules",
            "inputs",
            "samples",
            "adapter_config",
        ):
            result["status"] = "failed"
    award_points(found, shipped_rubric())
    assert found["passed"] is False and not deciding_checks(found)
    assert "too few points" in verdict_lines(found)[-1]
    staff = mutations.published_adapter(submissions.honest_files()[submissions.ADAPTER])
    accused = verdict_on(tmp_path / "s", staff)
    assert accused["passed"] is False and [r["check"] for r in deciding_checks(accused)] == ["own"]
