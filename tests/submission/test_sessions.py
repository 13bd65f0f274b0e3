"""Which logs in a folder are the sessions of one run, and whether it came to its end."""

from __future__ import annotations

from datetime import datetime

import pytest

from lesson.submission.sessions import MOST_SESSIONS, FoundRun, Session, find_runs
from lesson.submission.training_log import Point, TrainingLog


def session(name: str, *steps: int, total: int = 40, hour: int | None = 0, lr: float = 1e-4, samples=None) -> Session:
    at = None if hour is None else datetime(2026, 11, 24, hour)
    points = [Point(step, 1.0, lr, 1.0, at, total) for step in steps]
    return Session(name, TrainingLog(points, 1, samples, 1))


def named(hour: int, *steps: int, work: str = "work", **more) -> Session:
    return session(f"{work}/20261124_{hour:02}0000/x.log", *steps, hour=hour, **more)


def hours(runs: list[FoundRun]) -> list[list[int]]:
    return [[s.start.hour for s in run.sessions] for run in runs]


@pytest.mark.parametrize(
    ("name", "folder", "work_dir"),
    [
        ("work/20261124_150339/x.log", "work/20261124_150339/", "work"),
        ("20261124_150339/x.log", "20261124_150339/", ""),
        ("work/train.log", None, "work"),
        ("train.log", None, ""),
        ("work/2026_150339/x.log", None, "work/2026_150339"),
    ],
)
def test_a_session_lies_in_a_folder_named_by_its_time(name, folder, work_dir):
    assert (session(name, 1).folder, session(name, 1).work_dir) == (folder, work_dir)


def test_how_far_lines_are_apart_and_whether_a_session_begins_anew():
    assert session("x", 10, 20, 35).every == 15 and session("x", 7).every == 1
    assert session("x", 10, 20).begins_anew and not session("x", 11, 21).begins_anew
    assert session("x", 1).begins_anew and not session("x", 2).begins_anew
    assert session("x", 1, hour=None).start == datetime.min


def test_a_session_goes_on_where_one_before_it_had_been():
    assert hours(find_runs([named(2, 30, 40), named(1, 10, 20)])) == [[1], [1, 2]]
    assert hours(find_runs([named(1, 10, 20), named(2, 20, 30), named(3, 40)])) == [[1], [1, 2], [1, 2, 3]]
    assert hours(find_runs([named(1, 10, 20), named(2, 31, 41)])) == [[1], [2]]  # a gap
    assert hours(find_runs([named(1, 10, 20), named(2, 30, 40, total=60)])) == [[1], [2]]
    assert hours(find_runs([named(1, 10, 20), named(2, 30, 40, work="w2")])) == [[1], [2]]
    assert hours(find_runs([named(1, 10, 20), named(2, 10, 20)])) == [[1], [2]]  # begun anew
    assert hours(find_runs([named(1, 10, 20), named(2, 10, 20), named(3, 30, 40)])) == [[1], [2], [2, 3]]
    assert find_runs([named(1)]) == []


def test_a_log_outside_of_xtuners_folders_goes_on_with_none():
    runs = find_runs([session("work/a.log", 10, 20, hour=1), session("work/b.log", 30, 40, hour=2)])
    assert hours(runs) == [[1], [2]]


def test_of_a_run_that_was_resumed_again_and_again_the_last_sessions_count():
    every = [session(f"w/20261124_{n:06}/x", n, n + 1, total=99, hour=None) for n in range(1, MOST_SESSIONS + 3)]
    assert max(len(run.sessions) for run in find_runs(every)) == MOST_SESSIONS == 20
    assert find_runs(every)[-1].last is every[-1]


def test_a_run_is_finished_when_its_last_line_is_the_last_of_so_many_steps():
    assert FoundRun([named(1, 10, 20), named(2, 30, 40)]).finished
    assert FoundRun([named(1, 10, 20, 30, total=39)]).finished and not FoundRun([named(1, 10, 20, 30)]).finished
    assert not FoundRun([named(1, 30, 40)]).finished
    assert FoundRun([named(1, 10, 20, 30, total=35), named(2, 31, total=35)]).finished


def test_rate_and_samples_of_a_run():
    run = FoundRun([named(1, 10, lr=2e-4, samples=5), named(2, 20, lr=float("nan"), samples=0), named(3, 30)])
    assert (run.rate, run.samples) == (2e-4, 0)
    assert FoundRun([named(1, 10, lr=float("nan"))]).rate == 0.0 and FoundRun([named(1, 10)]).samples is None
