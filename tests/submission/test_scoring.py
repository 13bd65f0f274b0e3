"""Points, required checks and threshold, on results made by hand: what passes, what does not, what stays open."""

from __future__ import annotations

import pytest

from lesson.core.messages import UserError
from lesson.submission.registry import FAILED, PASSED, SKIPPED, UNJUDGED, load_checks
from lesson.submission.scoring import (
    bound_texts,
    deciding_checks,
    load_rubric,
    make_verdict,
    printable,
    results_unopened,
)


def result(check: str, status: str, area: str = "data") -> dict:
    return {"check": check, "area": area, "status": status, "found": "", "places": [], "remedy": ""}


def judged(
    statuses: dict[str, str], points: dict[str, int], required: tuple[str, ...] = (), threshold: float = 70
) -> dict:
    rubric = {"points": points, "required": list(required), "threshold": threshold}
    return make_verdict("x", [result(name, status) for name, status in statuses.items()], rubric)


@pytest.mark.parametrize(("threshold", "passed"), [(70, True), (70.1, False), (69, True), (0, True)])
def test_the_threshold_itself_passes(threshold, passed):
    verdict = judged({"a": PASSED, "b": FAILED}, {"a": 7, "b": 3}, threshold=threshold)
    assert (verdict["points"], verdict["of"], verdict["passed"]) == (7, 10, passed)


def test_a_required_check_decides_whatever_the_points():
    points = {"a": 99, "b": 1}
    for status, passed in ((PASSED, True), (FAILED, False), (SKIPPED, False)):
        verdict = judged({"a": PASSED, "b": status}, points, required=("b",))
        assert verdict["passed"] is passed, status
        assert [r["check"] for r in deciding_checks(verdict)] == ([] if passed else ["b"])


def test_what_could_not_be_judged_leaves_it_open_where_it_decides():
    points = {"a": 6, "b": 2, "c": 2}
    assert judged({"a": PASSED, "b": UNJUDGED, "c": PASSED}, points)["passed"] is True
    open_yet = judged({"a": PASSED, "b": UNJUDGED, "c": FAILED}, points)
    assert open_yet["passed"] is None and (open_yet["points"], open_yet["of"]) == (6, 10)
    assert judged({"a": PASSED, "b": UNJUDGED, "c": FAILED}, points, threshold=80)["passed"] is None
    assert judged({"a": PASSED, "b": UNJUDGED, "c": FAILED}, points, threshold=80.1)["passed"] is False
    assert judged({"a": PASSED, "b": UNJUDGED, "c": PASSED}, points, required=("b",))["passed"] is None
    assert judged({"a": FAILED, "b": UNJUDGED, "c": PASSED}, points, required=("a",), threshold=10)["passed"] is False


def test_an_accusation_fails_what_the_points_would_pass():
    for name in ("own", "agree"):
        verdict = judged({"a": PASSED, name: FAILED}, {"a": 99, name: 1})
        assert verdict["passed"] is False and [r["check"] for r in deciding_checks(verdict)] == [name]
        for status in (PASSED, SKIPPED):
            assert judged({"a": PASSED, name: status}, {"a": 99, name: 1}, required=(name,))["passed"] is True


def test_what_only_loses_points_decides_nothing():
    assert deciding_checks(judged({"a": PASSED, "b": FAILED}, {"a": 9, "b": 1})) == []
    assert deciding_checks(judged({"a": FAILED, "b": PASSED}, {"a": 9, "b": 1}, required=("b",))) == []


def test_points_of_what_was_skipped_count_but_for_what_is_optional():
    verdict = judged(
        {"a": PASSED, "b": SKIPPED, "source": SKIPPED, "manifest": SKIPPED},
        dict.fromkeys(("a", "b", "source", "manifest"), 5),
    )
    assert [(r["points"], r["of"]) for r in verdict["checks"]] == [(5, 5), (0, 5), (0, 0), (0, 0)]
    assert (verdict["points"], verdict["of"]) == (5, 10)
    rubric = {"points": {"a": 5, "r": 5}, "required": ["r"], "threshold": 70}
    asked = make_verdict("x", [result("a", PASSED), result("r", SKIPPED, "rerun")], rubric)
    assert asked["passed"] is True and asked["of"] == 5, "it was not asked for"


def test_texts_are_bounded_and_printable():
    assert printable("a\x1b[31m\u202eb\n") == "a\\x1b[31m\\u202eb\\n" and printable("x" * 2000) == "x" * 1000
    results = [result("a", PASSED) | {"found": "\x00" * 5, "places": ["y" * 600, "\x07"]}]
    bound_texts(results)
    assert results[0]["found"] == "\\x00" * 5 and results[0]["places"] == ["y" * 500, "\\x07"]


def test_where_nothing_could_be_opened_the_first_check_has_the_reason():
    for status in (FAILED, UNJUDGED):
        first, *others = results_unopened("no zip", status)
        assert (first["status"], first["found"]) == (status, "no zip")
        assert len(others) == len(load_checks()) - 1 and {r["status"] for r in others} == {SKIPPED}
    assert "make submission" in results_unopened("x")[0]["remedy"]
    assert results_unopened("x", UNJUDGED)[0]["remedy"] == "tell the staff"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("points = [", "TOML"),
        ("x = 1\n", "'x' was unexpected"),
        ('threshold = 70\nrequired = ["nope"]\n[points]\nopens = 1\n', "nope"),
    ],
)
def test_a_rubric_that_cannot_be_used_is_told(tmp_path, text, what):
    path = tmp_path / "r.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=what):
        load_rubric(path)
    assert load_rubric(None)["threshold"] > 0
