"""make check-all: all are judged whatever one of them does, and who handed in the same is told from who repeated it."""

from __future__ import annotations

import io
import os

import pytest
import submissions
from verdicts import shipped_rubric

from lesson.submission import batch
from lesson.submission.batch import judge_all
from lesson.submission.staff import StaffInputs
from lesson.submission.verdict import judge_submission
from recipe import check_all


def test_copies_are_found_and_an_equal_recipe_is_none(tmp_path, call):
    submissions.pack(submissions.honest_files(), tmp_path / "a", "甲")
    submissions.pack(submissions.with_times(submissions.honest_files()), tmp_path / "b", "乙")
    assert call(check_all, str(tmp_path))[0] == 0  # same config, rows, adapter; times of its own
    submissions.pack(submissions.honest_files(), tmp_path / "c", "丙")
    status, out, _ = call(check_all, str(tmp_path), "--report", str(tmp_path.with_suffix(".csv")))
    assert status == 1 and [line.split()[0] for line in out.splitlines()[:3]] == ["FAIL", "ok", "FAIL"]
    table = tmp_path.with_suffix(".csv").read_text().splitlines()
    assert len(table) == 4 and "own" in table[0]


def test_it_goes_on_when_one_crashes_the_checker(tmp_path):
    rubric = shipped_rubric()

    def judge(path: str) -> dict:
        return os._exit(9) if path == "b" else judge_submission(path, rubric, StaffInputs())

    found = judge_all(["a", "b", "c"], 2, rubric, judge, progress=io.StringIO())
    assert [v["passed"] for v in found] == [False, None, False]


@pytest.mark.slow
def test_a_folder_of_fifty_at_a_pace_of_500_in_three_minutes(tmp_path, call):
    import resource

    def cpu_seconds() -> float:
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(one.ru_utime + one.ru_stime for one in used)

    for number in range(50):
        files = submissions.with_times(submissions.honest_files(), seed=number)
        submissions.pack(files, tmp_path / f"{number:03}.zip", f"s{number}")
    started = cpu_seconds()
    status, out, _ = call(check_all, str(tmp_path), "--jobs", "2")
    seconds = (cpu_seconds() - started) / 2  # of two cores: what else runs on the machine does not count
    print(f"{seconds:.1f} s for 50")
    assert status == 0, out
    assert seconds < 18


def told(name: str, passed: bool | None, *statuses: str, who: str | None = None, retrain: dict | None = None) -> dict:
    checks = [{"check": f"c{n}", "status": status, "points": 0, "of": 10} for n, status in enumerate(statuses)]
    return {"submission": f"/x/{name}", "passed": passed, "who": who, "checks": checks, "retrain": retrain}


def test_the_table_has_a_line_for_each_and_counts_what_they_fail(monkeypatch):
    monkeypatch.setattr(batch, "score", lambda verdict: "7/10")
    monkeypatch.setattr(batch, "deciding_checks", lambda verdict: verdict["checks"][:1])
    given = [
        told("a.zip", True, "passed", "failed", who="甲"),
        told("longer-name.zip", False, "skipped", "failed", "failed", retrain={"seed": 3}),
        told("b.zip", None, "unjudged", "passed", "skipped", who="w" * 30),
        told("c.zip", False, "failed"),
    ]
    assert batch.table_lines(given) == [
        "ok   a.zip                 7/10  甲  c1",
        "FAIL longer-name.zip       7/10    c0, c1, c2",
        f"?    b.zip                 7/10  {'w' * 20}  c0",
        "FAIL c.zip                 7/10    c0",
        "4 submissions: 1 passed, 2 not, 1 not judged",
        "trained again, drawn by DRAW=3: longer-name.zip",
        "      2  c1",
        "      1  c2",
        "      1  c0",
    ]
    [line, *_] = batch.table_lines([told("n" * 50, True)])
    assert line == f"ok   {'n' * 40}       7/10"
