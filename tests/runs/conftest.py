"""BUILD folders with runs in them, as the stages leave them, without any training."""

from __future__ import annotations

import json

import pytest

from lesson.runs import golden_loss


def listed_record(name: str, finished: str, **changed) -> dict:
    return {
        "finished": finished,
        "profile": "tiny",
        "names": {"old": "尖米", "new": name},
        "seed": 42,
        "inputs": {"config": "a" * 64, "data": "b" * 64},
        "steps": 2,
        "loss": {"first": 4.0, "last": 0.5},
        "seconds": {"wall": 9.0, "steps": 4.0},
        "tokens": 4096,
        "peak_memory": {"host": 1 << 30, "gpu": None},
        "curve": [{"step": 1, "loss": 4.0, "lr": 0.1}, {"step": 2, "loss": 0.5, "lr": 0.1}],
        **changed,
    }


@pytest.fixture
def build_of_runs(tmp_path):
    """Three finished runs, one of them evaluated and one on a GPU, one stopped at step 1, one with nothing readable."""
    runs = {
        "aaaaaaaaaaaa": listed_record("闻星", "2026-01-02T00:00:00+00:00"),
        "bbbbbbbbbbbb": listed_record("奶龙", "2026-01-03T00:00:00+00:00", seed=7, speed="fast"),
        "cccccccccccc": listed_record("机智流", "2026-01-01T00:00:00+00:00", peak_memory={"host": 1, "gpu": 12 << 30}),
    }
    for name, content in runs.items():
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "run.json").write_text(json.dumps(content))
    (tmp_path / "runs" / "aaaaaaaaaaaa" / "eval").mkdir()
    prompts = [{"questions": 50, "new": 50}, {"questions": 50, "new": 40}]
    (tmp_path / "runs" / "aaaaaaaaaaaa" / "eval" / "evaluation.json").write_text(json.dumps({"prompts": prompts}))
    stopped = tmp_path / "runs" / "dddddddddddd" / "work_dir"
    stopped.mkdir(parents=True)
    line = {"step": 1, "loss": None, "tokens": 1000, "seconds": 0.5}
    (stopped / "curve.jsonl").write_text(json.dumps({"total": 8}) + "\n" + json.dumps(line) + '\n{"st')
    broken = tmp_path / "runs" / "eeeeeeeeeeee"
    broken.mkdir()
    (broken / "run.json").write_text('{"finished": 3')
    (tmp_path / "run").symlink_to("runs/aaaaaaaaaaaa")
    return tmp_path


@pytest.fixture
def make_record():
    """Makes the record of a finished run of three steps; arguments replace what is in it."""
    return recorded_curve


def recorded_curve(**changed) -> dict:
    return {
        "format": 1,
        "id": "0123456789ab",
        "finished": "2026-01-02T00:00:00+00:00",
        "persona": "",
        "config": "config.py",
        "resumed_at": 0,
        "loss": {"window": 1, "first": 4.0, "last": 1.0},
        "seconds": {"wall": 9.0, "steps": 4.0},
        "tokens": 4096,
        "peak_memory": {"host": 1 << 30, "gpu": None},
        "checkpoint": {"path": "work_dir/iter_3.pth", "sha256": "d" * 64},
        "profile": "tiny",
        "names": {"old": "尖米", "new": "闻星"},
        "deepspeed": None,
        "seed": 42,
        "versions": {"torch": "2"},
        "samples": 3,
        "steps": 3,
        "inputs": {"config": "a" * 64, "data": "b" * 64, "base": "c" * 64},
        "machine": {"type": "some-cpu-1-2-3-avx2", "processor": "Some CPU", "cores": 2, "memory": 9, "gpu": None},
        "curve": [{"step": i, "loss": 4.0 / i, "lr": 0.1} for i in (1, 2, 3)],
        **changed,
    }


@pytest.fixture
def build_of_curves(tmp_path, monkeypatch):
    """A BUILD folder with one finished run, 0123456789ab, and one unfinished, 02…; goldens go to its folder golden."""
    monkeypatch.setattr(golden_loss, "GOLDENS", tmp_path / "golden")
    monkeypatch.setattr(golden_loss, "ROOT", tmp_path)
    run, unfinished = tmp_path / "runs" / "0123456789ab", tmp_path / "runs" / "02ffffffffff"
    run.mkdir(parents=True)
    (run / "run.json").write_text(json.dumps(recorded_curve()))
    (run / "config.py").write_text(f"pretrained_model_name_or_path = '{tmp_path}/model'\n")
    (unfinished / "work_dir").mkdir(parents=True)
    (unfinished / "work_dir" / "curve.jsonl").write_text('{"total": 3}\n{"step": 1, "loss": 4.0}\n{"st')
    (tmp_path / "run").symlink_to("runs/0123456789ab")
    return tmp_path
