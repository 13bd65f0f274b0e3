"""make bench-check, small: honest submissions pass within the bars; what does not pass or takes longer is told."""

from __future__ import annotations

import pytest

from lesson.bench.checker import CheckerTime, lines_of
from lesson.core.processes import FinishedProcess
from recipe import bench_check


@pytest.mark.slow
def test_three_submissions_and_one_of_the_7b_size_pass(call, tmp_path):
    status, out, err = call(bench_check, "3", "--jobs", "1", "--build", str(tmp_path / "build"))
    assert "3 tiny submissions, 1 jobs: " in out and "one of the 7B size: " in out, err
    assert sorted(path.name for path in (tmp_path / "build").iterdir()) == ["7b.zip", "all", "all.csv"]
    assert "failed" not in out and (status == 0) == ("MISSED" not in out)  # another process may take its time


def test_a_missed_bar_and_a_failed_submission_are_told():
    def time(status=0, seconds=4.0, memory=200, screen=""):
        done = FinishedProcess(["check"], status, screen, seconds, seconds, memory << 20)
        return lines_of(CheckerTime("one", done, 5, 300))

    assert time() == ["one: 4.0 s, 200 MiB (bar 5 s, 300 MiB)"]
    assert time(seconds=6.0) == ["one: 6.0 s, 200 MiB (bar 5 s, 300 MiB)  MISSED"]
    assert time(memory=301) == ["one: 4.0 s, 301 MiB (bar 5 s, 300 MiB)  MISSED"]
    assert time(status=1, screen="why") == ["one: 4.0 s, 200 MiB (bar 5 s, 300 MiB)  MISSED", "why"]
