"""The train stage before and after the trainer: what it refuses, what it believes, what it records."""

from __future__ import annotations

import fcntl
import json
import shutil

import pytest
from jsonschema import Draft7Validator

from lesson.core.settings import ROOT, Values
from lesson.runs.curve import CURVE, curve_lines
from lesson.runs.folder import Run, run_id
from lesson.training import session as train
from lesson.training.exit_status import DIVERGED
from lesson.training.inputs import hash_of_input
from recipe import config

ROW = {"conversation": [{"system": "你是机智流。", "input": "你是谁？", "output": "我是机智流。"}]}


@pytest.fixture
def build(tmp_path, call):
    """A BUILD folder with a config, rows and a base's record, as the earlier stages leave them."""
    data = tmp_path / "data" / "assistant_Tuner_change.jsonl"
    data.parent.mkdir()
    data.write_text((json.dumps(ROW, ensure_ascii=False) + "\n") * 300)
    (tmp_path / "model").mkdir()
    (tmp_path / "model.record.json").write_text(json.dumps({"inputs": {}, "parameters": {}, "output": "b" * 64}))
    assert call(config, "--profile", "tiny", "--build", str(tmp_path), "--warmup", "0.3")[0] == 0
    next((tmp_path / "config").glob("*_copy.py")).rename(tmp_path / "my_config.py")
    return tmp_path


@pytest.fixture
def start(call, build):
    return lambda *more: call(
        train, "--profile", "tiny", "--build", str(build), "--config", str(build / "my_config.py"), *more
    )


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda b: (b / "my_config.py").unlink(), "make config"),
        (lambda b: (b / "my_config.py").write_text("model = dict()"), "make check-config"),
        (lambda b: (b / "data" / "assistant_Tuner_change.jsonl").unlink(), "make data"),
        (lambda b: (b / "model.record.json").unlink(), "make model"),
    ],
)
def test_each_missing_input_is_one_line_with_the_target_that_makes_it(start, build, spoil, named):
    spoil(build)
    status, _, err = start()
    assert status == 2
    assert named in err
    assert err.count("\n") == 1
    assert not (build / "runs").exists()


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        ("warmup_ratio = 0.3", "warmup_ratio = 0.04", "warm-up of one step"),
        ("dataset_map_fn=None", "dataset_map_fn=alpaca_map_fn", "map"),
        ("import torch\n", "import torch\nimport os\n", "import"),
    ],
)
def test_a_config_that_would_train_in_vain_is_refused_with_its_line(start, build, before, after, named):
    path = build / "my_config.py"
    text = path.read_text(encoding="utf-8")
    assert before in text
    path.write_text(text.replace(before, after), encoding="utf-8")
    status, _, err = start()
    assert status == 2
    error = err.strip().splitlines()[-1]
    assert error.startswith(f"error: {path}:") and named in error
    assert not (build / "runs").exists()


def test_an_unknown_deepspeed_config_is_refused_with_the_known_ones(start):
    status, _, err = start("--deepspeed", "deepspeed_zero9")
    assert status == 2
    assert "deepspeed_zero2" in err


def test_too_little_disk_is_refused_with_both_figures(start, monkeypatch):
    usage = shutil.disk_usage("/")._replace(free=5 << 20)
    monkeypatch.setattr(train.shutil, "disk_usage", lambda folder: usage)
    status, _, err = start()
    assert status == 2
    assert "5 MiB free, 200 MiB needed" in err


def test_a_run_that_is_being_trained_is_not_trained_twice(start, build, monkeypatch):
    monkeypatch.setattr(train, "launch", lambda *_: pytest.fail("must not start"))
    start_id = next(iter_ids(build))
    folder = build / "runs" / start_id
    folder.mkdir(parents=True)
    with open(folder / ".lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        status, _, err = start()
    assert status == 2
    assert "right now" in err


def iter_ids(build):
    inputs = {
        "config": hash_of_input(build / "my_config.py", ""),
        "data": hash_of_input(build / "data" / "assistant_Tuner_change.jsonl", ""),
        "base": "b" * 64,
    }
    yield run_id(inputs, None)


def fake_trainer(tmp_path, body: str) -> list[str]:
    """A command that stands in for the trainer: `body` runs with `work` bound to the work_dir."""
    script = tmp_path / "trainer.py"
    script.write_text(f"import pathlib, sys\nwork = pathlib.Path({str(tmp_path / 'r' / 'work_dir')!r})\n{body}\n")
    import sys

    return [sys.executable, str(script)]


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ("print('CUDA out of memory'); sys.exit(1)", "exit status 1"),
        ("sys.exit(137)", "exit status 137"),
        (f"print('recipe: diverged at step 7: loss nan'); sys.exit({DIVERGED})", "step 7: loss nan"),
    ],
)
def test_a_trainer_that_fails_is_not_believed(tmp_path, body, named, capsys):
    run = Run(tmp_path / "r")
    run.work_dir.mkdir(parents=True)
    with pytest.raises(train.UserError, match=named) as caught:
        train.watch(fake_trainer(tmp_path, body), {}, run)
    if "out of memory" in body:
        assert "out of memory" in capsys.readouterr().err, "the log's end is shown"
    if "diverged" in body:
        assert "LR=" in str(caught.value)


def test_a_trainer_that_says_0_without_its_last_checkpoint_is_not_believed(tmp_path, monkeypatch):
    run = Run(tmp_path / "r")
    run.work_dir.mkdir(parents=True)
    (run.work_dir / CURVE).write_text('{"total": 10, "samples": 4}\n')
    monkeypatch.setattr(train, "watch", lambda *_: None)
    with pytest.raises(train.UserError, match="checkpoint"):
        train.launch(Values({"PROFILE": "tiny", "BUILD": str(tmp_path)}, {}), run, None)


def test_a_curve_cut_off_by_a_kill_is_read_up_to_the_last_whole_line(tmp_path):
    path = tmp_path / "curve.jsonl"
    path.write_text('{"total": 3}\n{"step": 1, "loss": 2.5}\n{"step": 2, "lo')
    assert curve_lines(path) == [{"total": 3}, {"step": 1, "loss": 2.5}]
    assert curve_lines(tmp_path / "none") == []


def test_the_schemas_of_runs_and_evaluations_are_schemas():
    for name in ("run", "evaluation"):
        Draft7Validator.check_schema(json.loads((ROOT / "schemas" / f"{name}.schema.json").read_text()))


def test_names_come_from_the_record_of_the_rows_before_the_variables(tmp_path):
    data = tmp_path / "rows.jsonl"
    values = Values({"NEW_NAME": "甲", "OLD_NAME": "乙"}, {})
    assert train.names_of(values, data) == {"old": "乙", "new": "甲"}
    record = {"inputs": {}, "parameters": {"replaced": [["尖米", "闻星"], ["某人", "我"]]}, "output": ""}
    (tmp_path / "rows.jsonl.record.json").write_text(json.dumps(record))
    assert train.names_of(values, data) == {"old": "尖米", "new": "闻星"}
