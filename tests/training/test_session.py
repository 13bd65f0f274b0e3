"""The train stage before and after the trainer: what it refuses, what it believes, what it records."""

from __future__ import annotations

import fcntl
import json
import shutil

import pytest

from lesson.runs.folder import make_run_id
from lesson.training import session
from lesson.training.inputs import hash_input
from recipe import config, train

ROW = {"conversation": [{"system": "你是机智流。", "input": "你是谁？", "output": "我是机智流。"}]}


@pytest.fixture
def build(tmp_path, call):
    """A BUILD folder with a config, rows and a base's record, as the earlier stages leave them."""
    data = tmp_path / "data" / "assistant_Tuner_change.jsonl"
    data.parent.mkdir()
    data.write_text((json.dumps(ROW, ensure_ascii=False) + "\n") * 300)
    (tmp_path / "model").mkdir()
    (tmp_path / "model.record.json").write_text(json.dumps({"inputs": {}, "parameters": {}, "output": "b" * 64}))
    given = ("--max-length", "512", "--epochs", "7", "--warmup", "0.3")
    assert call(config, "--profile", "tiny", "--build", str(tmp_path), *given)[0] == 0
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
@pytest.mark.slow
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
    monkeypatch.setattr(session.shutil, "disk_usage", lambda folder: usage)
    status, _, err = start()
    assert status == 2
    assert "5 MiB free, 200 MiB needed" in err


def test_a_run_that_is_being_trained_is_not_trained_twice(start, build, monkeypatch):
    monkeypatch.setattr(session, "run_engine", lambda *_: pytest.fail("must not start"))
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
        "config": hash_input(build / "my_config.py", ""),
        "data": hash_input(build / "data" / "assistant_Tuner_change.jsonl", ""),
        "base": "b" * 64,
    }
    yield make_run_id(inputs, None)
