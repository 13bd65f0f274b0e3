"""The steps of a training as its files tell them: XTuner's text log, its vis_data and the curve of each step."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from lesson.core.refusals import Broken
from lesson.core.text import shorten

STEP = re.compile(
    r"((?:\d{4}/)?\d\d/\d\d \d\d:\d\d:\d\d) - mmengine - INFO - (?:Iter|Epoch)\(train\) (?:\[ *(\d{1,6})\])?\[ *(\d{1,9})/ *(\d{1,9})\] (.{0,400})"
)
FIELD = re.compile(r"\b(lr|time|loss|grad_norm): +(\S{1,30})")
KEPT = re.compile(r"Iter\(train\)|Epoch\(train\)|Num train samples|Saving checkpoint at|GPU number")


@dataclass(frozen=True)
class Point:
    """One line of a log: what it says about the step. NaN where it says nothing."""

    step: int
    loss: float  # nats per token
    lr: float
    seconds: float
    at: datetime | None = None
    total: int | None = None  # steps of the whole training


@dataclass(frozen=True)
class TrainingLog:
    """XTuner's text log. Of sessions that overlap after a resume, the later one counts."""

    points: list[Point]
    sessions: int
    samples: int | None  # that were trained on; None where the log does not say it
    gpus: int
    dated: bool = True  # False for what the console showed, whose times have no year


def read_log(lines: Iterable[tuple[int, bytes]], name: str, epochs: int | None = None) -> TrainingLog:
    """The log in the numbered `lines` of a file. Raises Broken for a step whose time or figures are none.

    A log by epochs counts the steps of each epoch anew, and tells no total: `epochs`, the config's, makes one.
    """
    points, samples, gpus, dated, last_epoch = [], None, 1, True, 0
    for number, line in lines:
        text = line[:1000].decode(errors="replace")
        if match := STEP.search(text):
            try:
                at = _read_time(match[1])
                dated &= match[1].count("/") == 2
                fields = {key: float(value) for key, value in FIELD.findall(match[5])}
            except ValueError as error:
                raise Broken(f"{name}:{number}: {shorten(str(error))}") from None
            loss, lr, seconds = (fields.get(key, math.nan) for key in ("loss", "lr", "time"))
            epoch, step, total = int(match[2] or 0), int(match[3]), int(match[4])
            if epoch:
                step, last_epoch = step + (epoch - 1) * total, max(last_epoch, epoch)
            points.append(Point(step, loss, lr, seconds, at, total))
        elif match := re.search(r"Num train samples (\d{1,9})", text):
            samples = int(match[1])
        elif match := re.search(r"GPU number: (\d{1,5})", text):
            gpus = max(int(match[1]), 1)
    if last_epoch:
        points = [dataclasses.replace(point, total=point.total * (epochs or last_epoch)) for point in points]
    chosen, sessions = choose_run(points, lambda last, every: last.total - last.step < every)
    return TrainingLog(chosen, sessions, samples, gpus, dated)


def _read_time(text: str) -> datetime:
    """A time of a log; of one without a year, the last that was. Raises ValueError."""
    if text.count("/") == 2:
        return datetime.strptime(text, "%Y/%m/%d %H:%M:%S")
    now = datetime.now()
    for year in range(now.year, now.year - 5, -1):  # 29 February is not in every one
        with contextlib.suppress(ValueError):
            if (at := datetime.strptime(f"{year}/{text}", "%Y/%m/%d %H:%M:%S")) < now + timedelta(days=1):
                return at
    raise ValueError(text)


def read_point(line: dict, where: str, seconds: str) -> Point:
    """The point in one object of vis_data or a curve, whose key `seconds` has the time. Raises Broken."""

    def number(key: str) -> float:
        value = line.get(key)
        return float(value) if type(value) in (int, float) else math.nan

    step = line.get("step")
    if not isinstance(step, int) or isinstance(step, bool) or not 0 <= step < 10**9:
        raise Broken(f"{where}: step = {shorten(str(step))}")
    return Point(step, number("loss"), number("lr"), number(seconds))


def choose_run(points: Sequence[Point], is_last: Callable[[Point, int], bool]) -> tuple[list[Point], int]:
    """(points of the last run that came to its end, its sessions) where one file holds several, one after the other.

    `is_last` is told a point, and how many steps there are from one line to the next. Without such a run all points are
    one, as they were logged: then something is wrong with them, which the checks say.
    """
    sessions: list[list[Point]] = []
    for point in points:
        if not sessions or point.step <= sessions[-1][-1].step or point.total != sessions[-1][-1].total:
            sessions.append([])
        sessions[-1].append(point)
    every = max((b.step - a.step for session in sessions for a, b in itertools.pairwise(session)), default=1)
    runs: list[list[list[Point]]] = []
    for session in sessions:
        goes_on = session[0].step > every and runs and runs[-1][-1][-1].total == session[0].total
        runs.append([*runs[-1], session] if goes_on else [session])
    for run in reversed(runs):
        if run[0][0].step <= every and is_last(run[-1][-1], every):
            return drop_repeated(itertools.chain.from_iterable(run)), len(run)
    return drop_repeated(points), max(1, len(sessions))


def drop_repeated(points: Iterable[Point]) -> list[Point]:
    """Points in order of their steps: a session that begins at an earlier step replaces what came before from there."""
    kept: list[Point] = []
    for point in points:
        while kept and kept[-1].step >= point.step:
            kept.pop()
        kept.append(point)
    return kept
