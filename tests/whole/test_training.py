"""Short trainings for real at tiny: stopped and resumed, in another engine, and one that fails."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from servers import NAME, stage, valid
from sessions import Sessions, assert_same, session, state_of, steps

from lesson.core.files import sha256
from lesson.core.settings import ROOT, Values
from lesson.runs.checkpoint import find_checkpoint
from lesson.runs.curve import CURVE, read_curve
from lesson.runs.environment import engine_environment
from lesson.runs.folder import Run

pytestmark = [pytest.mark.torch, pytest.mark.slow]


SHORT = {"MAX_LENGTH": "256", "EPOCHS": "3", "SAVE_STEPS": "2", "WARMUP": "0.1"}
ROWS = 165  # of the shipped rows: 28 packs, seven steps an epoch


def prepare(build: Path, name: str = NAME, **parameters: str) -> Path:
    """Data (few rows), model and config in `build`: all that training needs."""
    with open(ROOT / "data" / "assistant_Tuner.jsonl", encoding="utf-8") as file:
        (build / "few.jsonl").write_text("".join(itertools.islice(file, ROWS)), encoding="utf-8")
    stage(build, "data", SRC=str(build / "few.jsonl"), NEW_NAME=name)
    stage(build, "model")
    stage(build, "config", **parameters)
    return next((build / "config").glob("*.py"))


@pytest.fixture(scope="module")
def short(tmp_path_factory) -> Path:
    """A BUILD folder with a short run that was never stopped: what all others here are held against. It was made with
    TENSORBOARD=1, and the others are not: showing a training must not change it."""
    build = tmp_path_factory.mktemp("short")
    prepare(build, **SHORT)
    stage(build, "train", TENSORBOARD="1")
    stage(build, "convert")
    return build


def outcome(build: Path) -> tuple[list, str]:
    run = Run((build / "run").resolve())
    return json.loads(run.record.read_text())["curve"], sha256(run.adapter / "adapter_model.safetensors")


def test_a_run_killed_at_a_random_step_resumes_to_the_same_curve_and_the_same_adapter(short, tmp_path):
    """kill -9 of make's process after a random step: the trainer dies with it, the same command goes on, and the
    result equals the uninterrupted run's in every bit. So two runs of one seed are equal as well."""
    curve, adapter = outcome(short)
    prepare(tmp_path, **SHORT)
    environment = {**os.environ, "BUILD": str(tmp_path), "PROFILE": "tiny", "PYTHONUTF8": "1"}
    moment = random.SystemRandom().randrange(6, len(curve) - 1)
    parent = subprocess.Popen(
        [sys.executable, "-m", "recipe.train"], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 300
    while (
        not (steps := [len(read_curve(p)) - 1 for p in tmp_path.glob(f"runs/*/work_dir/{CURVE}")]) or steps[0] < moment
    ):
        assert parent.poll() is None and time.monotonic() < deadline, "the run ended before it was killed"
        time.sleep(0.05)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    screen = stage(tmp_path, "train")
    assert "resuming at step" in screen, f"killed at step {moment}"
    stage(tmp_path, "convert")
    assert outcome(tmp_path) == (curve, adapter), f"killed at step {moment}"


def test_training_with_deepspeed_zero2_on_the_cpu_gives_nearly_the_same_curve(short, tmp_path):
    """DEEPSPEED=deepspeed_zero2 is another engine and another checkpoint format (a folder): same loss, and it converts.

    Tolerance: the first two losses are equal; then Adam, whose first steps depend on signs more than on sizes, spreads
    the rounding of another order of sums. Measured over 21 steps: at most 0.043.
    """
    import torch

    prepare(tmp_path, **SHORT)
    stage(tmp_path, "train", DEEPSPEED="deepspeed_zero2")
    stage(tmp_path, "convert")
    run = Run((tmp_path / "run").resolve())
    record = valid(run.record, "run")
    assert record["deepspeed"] and record["checkpoint"]["sha256"] is None
    # What an exact resume needs is in this format too (DeepSpeed's strategy drops the hooks' part unless patched).
    states = run.folder / record["checkpoint"]["path"] / "mp_rank_00_model_states.pt"
    assert set(torch.load(states, weights_only=False)["random_state"]) == {"python", "numpy", "torch", "cuda"}
    plain = outcome(short)[0]
    assert [point["step"] for point in record["curve"]] == [point["step"] for point in plain]
    assert [point["loss"] for point in record["curve"][:2]] == pytest.approx([p["loss"] for p in plain[:2]], abs=1e-5)
    assert [point["loss"] for point in record["curve"]] == pytest.approx([p["loss"] for p in plain], abs=0.06)


def test_a_learning_rate_that_explodes_stops_early_and_says_where_and_what_to_do(tmp_path):
    config = prepare(tmp_path, **SHORT | {"SAVE_STEPS": "50"})  # the hook answers at each save: garbage, at length
    mine = tmp_path / "mine.py"
    text, changed = re.subn(r"^lr = .*$", "lr = 5000.0", config.read_text(encoding="utf-8"), flags=re.M)
    assert changed == 1
    mine.write_text(text, encoding="utf-8")
    screen = stage(tmp_path, "train", CONFIG=str(mine), status=2)
    assert re.search(r"step \d+: loss", screen) and "LR=" in screen
    assert not list(tmp_path.glob("runs/*/run.json"))


# --- sessions of the engine alone, started by a fork -----------------------------------------------------------------


@pytest.fixture(scope="module")
def sessions(short):
    """A process that has imported XTuner once and forks an engine for each order."""
    with Sessions(engine_environment(Values({"PROFILE": "tiny", "BUILD": str(short)}, {}))) as found:
        yield found


def test_killed_ten_times_and_out_of_disk_a_run_ends_with_the_same_curve_and_the_same_weights(
    short, sessions, tmp_path
):
    """kill -9 anywhere: while the model is loaded, in a step, while a checkpoint is written; each session goes on from
    what the one before left. Then a full disk while saving: the session fails, the last whole checkpoint stays."""
    uninterrupted = Run((short / "run").resolve())
    config = uninterrupted.config
    run, seed = Run(tmp_path / "killed"), random.SystemRandom().randrange(2**32)
    draw = random.Random(seed)
    total, reached = len(state_of(uninterrupted)[0]), []
    for kill in range(10):
        process = session(config, sessions, run)
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
    kept = find_checkpoint(run.work_dir)
    # A file that may not grow beyond 1 MiB fails in the middle of its write, as on a full disk.
    session(config, sessions, run, limit=1 << 20)
    assert sessions.wait() not in (0, -signal.SIGKILL), seed
    assert "File too large" in run.console.read_text()
    assert kept is not None and find_checkpoint(run.work_dir) == kept, seed
    assert not list(run.work_dir.glob(".*.tmp"))

    session(config, sessions, run)
    assert sessions.wait() == 0, (seed, run.console.read_text()[-3000:])
    assert_same(run, uninterrupted)


def test_tensorboard_reads_back_the_losses_of_the_curve(short):
    """mmengine logs the mean of the last ten losses (its log_processor's window) at each step that it logs."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    uninterrupted = Run((short / "run").resolve())
    files = list(uninterrupted.work_dir.rglob("events.out.tfevents.*"))
    assert len(files) == 1
    read = EventAccumulator(str(files[0].parent))
    read.Reload()
    losses = [loss for _, loss in state_of(uninterrupted)[0]]
    events = read.Scalars("loss")
    assert len(events) >= 2
    for event in events:
        window = losses[max(0, event.step - 10) : event.step]
        assert event.value == pytest.approx(sum(window) / len(window), rel=1e-5)
    # What was trained with says so, in XTuner's own copy of the config; the run's config is the lesson's.
    copies = [path.read_text(encoding="utf-8") for path in uninterrupted.work_dir.rglob("*.py")]
    assert any("TensorboardVisBackend" in text for text in copies)
    assert "TensorboardVisBackend" not in uninterrupted.config.read_text(encoding="utf-8")


def test_another_name_is_another_run_and_the_first_one_stays(short):
    """The last test of this file: BUILD/run points to the second run afterwards."""
    first = (short / "run").resolve()
    prepare(short, "奶龙", MAX_LENGTH="256", EPOCHS="1", WARMUP="0.4")
    stage(short, "train")
    second = (short / "run").resolve()
    assert second != first
    assert (first / "run.json").exists() and (first / "adapter" / "adapter_model.safetensors").exists()
