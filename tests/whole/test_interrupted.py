"""A training that is killed at any moment, or whose disk is full, goes on to the very same weights."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import signal
import time
from pathlib import Path

import pytest
from sessions import Sessions

from lesson.config import make as config
from lesson.core.settings import ROOT, Values
from lesson.data import prepare as data
from lesson.model import link as model
from lesson.runs import folder as runs
from lesson.runs.curve import CURVE, curve_lines
from lesson.runs.folder import Run
from lesson.training import session as train

pytestmark = [pytest.mark.torch, pytest.mark.slow]
# Short steps and many checkpoints: a third of the time is spent in writing them, so kills fall there as well.
SMALL = {"MAX_LENGTH": "128", "BATCH": "4", "EPOCHS": "1", "WARMUP": "0.3", "SAVE_STEPS": "2"}
ROWS = 120


@pytest.fixture(scope="module")
def build(tmp_path_factory) -> Path:
    """A BUILD folder with few rows, the base and a config of short steps."""
    build = tmp_path_factory.mktemp("interrupted")
    with open(ROOT / "data" / "assistant_Tuner.jsonl", encoding="utf-8") as file:
        (build / "few.jsonl").write_text("".join(itertools.islice(file, ROWS)), encoding="utf-8")
    values = Values({"PROFILE": "tiny", "BUILD": str(build), "SRC": str(build / "few.jsonl"), **SMALL}, {})
    for stage in (data.stage, model.model, config.config):
        assert stage(values) == 0
    return build


@pytest.fixture(scope="module")
def sessions(build):
    values = Values({"PROFILE": "tiny", "BUILD": str(build)}, {})
    with Sessions(runs.engine_environment(values)) as found:
        yield found


def session(build: Path, sessions: Sessions, run: Run, config: Path | None = None, **more) -> int:
    """Start a session that goes on from the run's last whole checkpoint; its process ID."""
    run.work_dir.mkdir(parents=True, exist_ok=True)
    arguments = ["train", str(config or next((build / "config").glob("*.py"))), "--work-dir", str(run.work_dir)]
    last = runs.checkpoint(run.work_dir)
    return sessions.start(arguments + (["--resume", str(last)] if last else []), run.console, **more)


def outcome(run: Run) -> tuple[list, dict]:
    """(losses, every tensor of the last checkpoint: LoRA weights and the optimizer's moments)."""
    import torch

    lines = [(line["step"], line["loss"]) for line in curve_lines(run.work_dir / CURVE)[1:]]
    saved = torch.load(runs.checkpoint(run.work_dir), weights_only=False)
    moments = {f"{i}.{key}": value for i, state in saved["optimizer"]["state"].items() for key, value in state.items()}
    return lines, saved["state_dict"] | moments


def assert_same(run: Run, reference: Run) -> None:
    import torch

    (curve, tensors), (expected, weights) = outcome(run), outcome(reference)
    assert curve == expected
    assert tensors.keys() == weights.keys()
    assert all(torch.equal(tensors[key], weights[key]) for key in weights)


@pytest.fixture(scope="module")
def uninterrupted(build, sessions) -> Run:
    """A run that was never stopped, with TENSORBOARD=1: showing a training must not change it."""
    run = Run(build / "runs" / "whole")
    run.work_dir.mkdir(parents=True)
    run.config.write_bytes(next((build / "config").glob("*.py")).read_bytes())
    shown = train.engine_config(Values({"BUILD": str(build), "TENSORBOARD": "1"}, {}), run)
    session(build, sessions, run, config=shown)
    assert sessions.wait() == 0, run.console.read_text()[-3000:]
    return run


def test_killed_ten_times_and_out_of_disk_a_run_ends_with_the_same_curve_and_the_same_weights(
    build, sessions, uninterrupted
):
    """kill -9 anywhere: while the model is loaded, in a step, while a checkpoint is written; each session goes on from
    what the one before left. Then a full disk while saving: the session fails, the last whole checkpoint stays."""
    run, seed = Run(build / "runs" / "killed"), random.SystemRandom().randrange(2**32)
    draw = random.Random(seed)
    total, reached = len(outcome(uninterrupted)[0]), []
    for kill in range(10):
        process = session(build, sessions, run)
        # Two of the ten at any time of the start-up, the others a moment after one of the next steps.
        before = steps(run)
        wanted = before if kill in (0, 5) else min(before + draw.randrange(1, 4), total - 4)
        deadline = time.monotonic() + 60
        while steps(run) < wanted and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(draw.uniform(0, 0.8 if kill in (0, 5) else 0.08))
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
        assert sessions.wait() == -signal.SIGKILL, (seed, run.console.read_text()[-3000:])
        reached.append(steps(run))
    assert len(set(reached)) >= 3, (seed, "the kills did not fall at different steps")

    for path in run.work_dir.glob(".*.tmp"):  # a kill's: it could not tidy up
        path.unlink()
    kept = runs.checkpoint(run.work_dir)
    # A file that may not grow beyond 1 MiB fails in the middle of its write, as on a full disk.
    session(build, sessions, run, limit=1 << 20)
    assert sessions.wait() not in (0, -signal.SIGKILL), seed
    assert "File too large" in run.console.read_text()
    assert kept is not None and runs.checkpoint(run.work_dir) == kept, seed
    assert not list(run.work_dir.glob(".*.tmp"))

    session(build, sessions, run)
    assert sessions.wait() == 0, (seed, run.console.read_text()[-3000:])
    assert_same(run, uninterrupted)


def steps(run: Run) -> int:
    return max(len(curve_lines(run.work_dir / CURVE)) - 1, 0)


def test_tensorboard_reads_back_the_losses_of_the_curve(uninterrupted):
    """mmengine logs the mean of the last ten losses (its log_processor's window) at each step that it logs."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    files = list(uninterrupted.work_dir.rglob("events.out.tfevents.*"))
    assert len(files) == 1
    read = EventAccumulator(str(files[0].parent))
    read.Reload()
    losses = [loss for _, loss in outcome(uninterrupted)[0]]
    events = read.Scalars("loss")
    assert len(events) >= 2
    for event in events:
        window = losses[max(0, event.step - 10) : event.step]
        assert event.value == pytest.approx(sum(window) / len(window), rel=1e-5)
    # What was trained with says so, in XTuner's own copy of the config; the run's config is the lesson's.
    copies = [path.read_text(encoding="utf-8") for path in uninterrupted.work_dir.rglob("*.py")]
    assert any("TensorboardVisBackend" in text for text in copies)
    assert "TensorboardVisBackend" not in uninterrupted.config.read_text(encoding="utf-8")
