"""The steps that a log, vis_data or a curve tells: of several runs in one file the last whole one, resumed or not."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

import pytest

from lesson.core.refusals import Broken
from lesson.submission.training_log import Point, choose_run, drop_repeated, read_log, read_point

HEAD = "2026/11/24 15:03:39 - mmengine - INFO - "
FIGURES = "lr: 2.0000e-04  eta: 0:00:05  time: 0.5000  data_time: 0.1  memory: 99  loss: 1.2500  grad_norm: 0.9"


def log_of(*lines: str, epochs: int | None = None):
    return read_log(((n, line.encode()) for n, line in enumerate(lines, 1)), "x.log", epochs)


def iteration(step: int, total: int = 40, head: str = HEAD) -> str:
    return f"{head}Iter(train) [{step:>4}/{total}]  {FIGURES}"


def points(*steps: int, total: int | None = None) -> list[Point]:
    return [Point(step, 1.0, 1.0, 1.0, None, total) for step in steps]


def test_a_step_and_its_figures_are_read():
    log = log_of(
        "Num train samples 206", "GPU number: 4", iteration(10), "noise", iteration(20), iteration(30), iteration(40)
    )
    assert log.points[0] == Point(10, 1.25, 2e-4, 0.5, datetime(2026, 11, 24, 15, 3, 39), 40)
    assert [p.step for p in log.points] == [10, 20, 30, 40]
    assert (log.sessions, log.samples, log.gpus, log.dated) == (1, 206, 4, True)


def test_what_a_log_does_not_say():
    log = log_of(f"{HEAD}Iter(train) [10/10]  eta: 0")
    assert all(map(math.isnan, (log.points[0].loss, log.points[0].lr, log.points[0].seconds)))
    assert (log.samples, log.gpus) == (None, 1) and log_of("GPU number: 0").gpus == 1
    assert log_of().points == [] and log_of().sessions == 1


def test_epochs_count_their_steps_anew_and_make_a_total():
    lines = [f"{HEAD}Epoch(train) [{epoch}][{step}/20]  {FIGURES}" for epoch in (1, 2) for step in (10, 20)]
    for epochs, total in ((None, 40), (2, 40), (3, 60)):
        log = log_of(*lines, epochs=epochs)
        assert [(p.step, p.total) for p in log.points] == [(s, total) for s in (10, 20, 30, 40)]
    assert log_of(iteration(40), epochs=3).points[0].total == 40


@pytest.mark.parametrize("line", [iteration(1).replace("/24", "/31"), iteration(1).replace("1.2500", "1.2.5")])
def test_a_time_or_a_figure_that_is_none_is_named(line):
    with pytest.raises(Broken, match=r"^x\.log:2: "):
        log_of("", line)


def test_a_console_without_years_tells_the_last_such_day_that_was():
    now = datetime.now()
    for moment in (now - timedelta(days=1), now + timedelta(hours=1), now + timedelta(days=3)):
        log = log_of(iteration(40, head=f"{moment:%m/%d %H:%M:%S} - mmengine - INFO - "))
        assert not log.dated
        assert -366 <= (log.points[0].at - now).days <= 1 and log.points[0].at.day == moment.day
        assert (log.points[0].at.year == moment.year) is (moment < now + timedelta(days=1))
    assert log_of(iteration(40, head="02/29 10:00:00 - mmengine - INFO - ")).points[0].at.month == 2
    assert not log_of(iteration(20, head="11/24 15:03:39 - mmengine - INFO - "), iteration(40)).dated


def test_only_the_first_thousand_bytes_of_a_line_are_looked_at():
    assert not log_of("x" * 1000 + iteration(1)).points


@pytest.mark.parametrize("step", [None, "1", True, -1, 10**9, 1.0])
def test_a_point_without_a_step_is_broken(step):
    with pytest.raises(Broken, match="here: step"):
        read_point({"step": step}, "here", "time")


def test_a_point_has_numbers_or_nan():
    assert read_point({"step": 0, "loss": 1, "lr": 0.5, "time": 2.0}, "", "time") == Point(0, 1.0, 0.5, 2.0)
    point = read_point({"step": 10**9 - 1, "loss": True, "lr": "1"}, "", "seconds")
    assert math.isnan(point.loss) and math.isnan(point.lr) and math.isnan(point.seconds)


def steps(found: tuple[list[Point], int]) -> tuple[list[int], int]:
    return [point.step for point in found[0]], found[1]


def at_end(last: Point, every: int) -> bool:
    return last.total - last.step < every


@pytest.mark.parametrize(
    ("logged", "chosen"),
    [
        (points(10, 20, 30, total=30), ([10, 20, 30], 1)),
        (points(10, 20, 30, total=39), ([10, 20, 30], 1)),  # the last line of 39 steps
        (points(10, 20, 20, 30, total=30), ([10, 20, 30], 2)),  # a session that went on
        (points(10, 20, 30, 20, 30, total=30), ([10, 20, 30], 2)),
        (points(10, 20, 30, total=30) + points(10, 20, total=30), ([10, 20, 30], 1)),  # another, broken off
        (points(10, 20, total=90) + points(10, 20, 30, total=30), ([10, 20, 30], 1)),  # … before
        (points(10, 20, total=30) + points(30, 40, total=40), ([10, 20, 30, 40], 2)),  # another total: no one run
        (points(10, 20, total=90), ([10, 20], 1)),  # none is whole
        (points(20, 30, total=30), ([20, 30], 1)),
        (points(5, total=5), ([5], 1)),
        ([], ([], 1)),
    ],
)
def test_the_last_whole_run_of_a_file_is_chosen(logged, chosen):
    assert steps(choose_run(logged, at_end)) == chosen


def test_the_first_line_may_be_as_late_as_lines_are_apart():
    whole = points(1, 2, total=2)
    assert steps(choose_run(whole + points(1, total=9), at_end)) == ([1, 2], 1)
    late = points(2, 3, total=3)  # lines are one step apart, and the first is missing
    assert steps(choose_run(whole + late, at_end)) == ([1, 2], 1)


def test_an_earlier_step_replaces_what_came_after_it():
    assert [p.step for p in drop_repeated(points(1, 2, 3, 2, 3, 4))] == [1, 2, 3, 4]
    kept = drop_repeated([*points(1, 2), Point(2, 9.0, 1.0, 1.0)])
    assert [p.loss for p in kept] == [1.0, 9.0]
