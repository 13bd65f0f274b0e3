"""A training seen from outside while it runs, or where it stopped: from the files of its run alone.

Any of them may be missing, half written or broken: what cannot be read is unknown. Nothing here writes.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from lesson.core.layout import runs_folder
from lesson.core.locks import try_lock
from lesson.core.messages import UserError
from lesson.core.settings import Values
from lesson.runs.checkpoint import find_checkpoint, step_of
from lesson.runs.chosen import find_chosen_run, find_named_run
from lesson.runs.curve import CURVE, measure_progress, read_curve
from lesson.runs.divergence import has_curve_diverged
from lesson.runs.folder import Run
from lesson.runs.samples import SampleAnswer, read_sample_answers

NONE, STARTING, TRAINING = "none", "starting", "training"
STOPPED, DIVERGED, FINISHED = "stopped", "diverged", "finished"
LARGEST_CURVE = 64 << 20  # bytes: half a million steps
MOST_POINTS = 400  # that are drawn of a curve
SMOOTHED = 10  # steps in the mean of the last losses
MOST_SAMPLES = 12


@dataclass(frozen=True)
class Training:
    """A training as its files show it. None is unknown.

    `state`: no run (NONE), loading the model (STARTING), making steps (TRAINING), not running and not done (STOPPED,
    DIVERGED), done (FINISHED). `loss`: nats per token, of the last step, NaN where it was no number; `mean_loss`: of the
    last SMOOTHED. `left`: seconds to the end, only while it runs. `age`: seconds since the last step. `checkpoint`: the step
    of the last whole one, from which the same make train goes on. `curve`: (step, loss), at most MOST_POINTS. `samples`:
    the latest first.
    """

    run: Run | None = None
    state: str = NONE
    step: int = 0
    total: int | None = None
    loss: float | None = None
    mean_loss: float | None = None
    tokens_per_second: float | None = None
    left: float | None = None
    age: float | None = None
    checkpoint: int | None = None
    curve: list[tuple[int, float]] = field(default_factory=list)
    samples: list[SampleAnswer] = field(default_factory=list)


def find_watched_run(values: Values) -> Run | None:
    """The run that RUN names, finished or not; else one that is being trained, else the one written last; None without any.

    Raises UserError when RUN names none.
    """
    if values.text("RUN"):
        return find_named_run(values)
    folder = runs_folder(values.build)
    found = []
    with contextlib.suppress(OSError):
        found = [Run(path) for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    return max(found, key=lambda run: (is_being_trained(run), _written(run), run.folder.name), default=None)


def find_unfinished_run(values: Values) -> Run | None:
    """The run to show where there is no finished one to talk about: RUN's, or the one written last, when it is not
    finished. None where there is a finished one, or nothing at all."""
    with contextlib.suppress(UserError):
        find_chosen_run(values)
        return None
    with contextlib.suppress(UserError):
        run = find_watched_run(values)
        return run if run is not None and not run.record.exists() else None
    return None


def is_being_trained(run: Run) -> bool:
    """Whether a trainer holds the run's lock (lesson/training/lock.py). It is asked for with a shared lock that is let go
    at once; the trainer waits longer for its own than that takes."""
    try:
        with open(run.lock, "rb") as file:
            return not try_lock(file.fileno(), shared=True)
    except OSError:
        return False


def _written(run: Run) -> float:
    """When a training last wrote here, in seconds since the epoch."""
    return max(map(_time_of, (run.work_dir / CURVE, run.console, run.record, run.lock, run.config)))


def _time_of(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def look_at_training(run: Run | None) -> Training:
    """What the files of `run` say now."""
    if run is None:
        return Training()
    path = run.work_dir / CURVE
    lines = []
    with contextlib.suppress(OSError):
        lines = read_curve(path) if path.stat().st_size <= LARGEST_CURVE else []
    total = next((line["total"] for line in lines if "total" in line), None)
    steps = [line for line in lines if "step" in line]
    state = _find_state(run, steps)
    now = measure_progress(steps, total or 0, None) if steps else None
    last = [step["loss"] for step in steps[-SMOOTHED:] if step["loss"] is not None]
    checkpoint = None
    with contextlib.suppress(OSError, ValueError):
        found = find_checkpoint(run.work_dir)
        checkpoint = step_of(found) if found else None
    return Training(
        run=run,
        state=state,
        step=now["step"] if now else 0,
        total=total,
        loss=now["loss"] if now else None,
        mean_loss=math.fsum(last) / len(last) if last else None,
        tokens_per_second=now["tokens_per_second"] if now else None,
        left=max(now["left"], 0.0) if now and total and state == TRAINING else None,
        age=max(time.time() - _time_of(path), 0.0) if steps else None,
        checkpoint=checkpoint,
        curve=thin_out([(step["step"], step["loss"]) for step in steps if step["loss"] is not None]),
        samples=read_sample_answers(run, MOST_SAMPLES),
    )


def _find_state(run: Run, steps: list[dict]) -> str:
    if is_being_trained(run):
        # The trainer opens its lock anew, and then writes the curve anew before its first step: an older curve is that of
        # an earlier session.
        current = bool(steps) and _time_of(run.work_dir / CURVE) >= _time_of(run.lock)
        return TRAINING if current else STARTING
    if _is_record(run.record):
        return FINISHED
    return DIVERGED if has_curve_diverged(steps) else STOPPED


def _is_record(path: Path) -> bool:
    with contextlib.suppress(OSError, ValueError, RecursionError):
        return isinstance(json.loads(path.read_text(encoding="utf-8")), dict)
    return False


def thin_out(points: Iterable[tuple[int, float]]) -> list[tuple[int, float]]:
    """At most MOST_POINTS of `points`, at equal distances, the first and the last among them."""
    points = list(points)
    if len(points) <= MOST_POINTS:
        return points
    return [points[round(i * (len(points) - 1) / (MOST_POINTS - 1))] for i in range(MOST_POINTS)]
