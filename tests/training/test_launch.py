"""The engine's process is believed by its exit status and by what it left, not by what it says."""

from __future__ import annotations

import sys

import pytest

from lesson.core.messages import UserError
from lesson.core.settings import Values
from lesson.runs.curve import CURVE
from lesson.runs.divergence import DIVERGED
from lesson.runs.folder import Run
from lesson.training import launch
from lesson.training.inputs import TrainingInputs
from lesson.training.launch import read_last_word, watch_engine
from lesson.training.progress import Display


def fake_trainer(tmp_path, body: str) -> list[str]:
    """A command that stands in for the trainer: `body` runs with `work` bound to the work_dir."""
    script = tmp_path / "trainer.py"
    script.write_text(f"import pathlib, sys\nwork = pathlib.Path({str(tmp_path / 'r' / 'work_dir')!r})\n{body}\n")
    return [sys.executable, str(script)]


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ("print('CUDA out of memory'); sys.exit(1)", "exit status 1"),
        ("sys.exit(137)", "exit status 137"),
        (f"print('recipe: diverged at step 7: loss nan'); sys.exit({DIVERGED})", "step 7: loss nan"),
    ],
)
@pytest.mark.slow
def test_a_trainer_that_fails_is_not_believed(tmp_path, body, named):
    display = Display(report=lambda line: None, warn=lambda line: None)
    run = Run(tmp_path / "r")
    run.work_dir.mkdir(parents=True)
    with pytest.raises(UserError, match=named) as caught:
        watch_engine(fake_trainer(tmp_path, body), {}, run, display)
    if "out of memory" in body:
        assert "out of memory" in caught.value.details, "the log's end is shown"
    if "diverged" in body:
        assert "LR=" in str(caught.value)


def test_a_trainer_that_says_0_without_its_last_checkpoint_is_not_believed(tmp_path, monkeypatch):
    display = Display(report=lambda line: None, warn=lambda line: None)
    inputs = TrainingInputs(tmp_path / "c.py", {}, tmp_path / "d.jsonl", tmp_path, {}, deepspeed=None, processes=1)
    run = Run(tmp_path / "r")
    run.work_dir.mkdir(parents=True)
    (run.work_dir / CURVE).write_text('{"total": 10, "samples": 4}\n')
    monkeypatch.setattr(launch, "watch_engine", lambda *_: None)
    with pytest.raises(UserError, match="checkpoint"):
        launch.run_engine(Values({"PROFILE": "tiny", "BUILD": str(tmp_path)}, {}), run, inputs, display)


def test_the_engine_s_last_word_is_found_below_what_torchrun_prints_after_it(tmp_path):
    console = tmp_path / "console.log"
    console.write_text("recipe: diverged at step 7: loss nan\n" + "torchrun says\n" * 20)
    assert read_last_word(console) == "diverged at step 7: loss nan"
    console.write_text("nothing of ours\n")
    assert read_last_word(console) == ""
