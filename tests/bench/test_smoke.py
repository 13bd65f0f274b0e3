"""make smoke-7b without a GPU: which stages run with which variables, what is printed, and that nothing stays behind.

The stages themselves, on a GPU: tests/whole/test_gpu.py.
"""

from __future__ import annotations

import json

import pytest

from lesson.bench import gpu, smoke
from lesson.core.files import write_json
from lesson.core.layout import last_run_link, runs_folder
from lesson.core.processes import FinishedProcess
from lesson.runs.curve import CURVE
from lesson.runs.folder import Run, set_last_run
from lesson.training.memory import CUDA_CONTEXT
from recipe import smoke as script

STEPS = 22


@pytest.fixture
def stages(tmp_path, monkeypatch):
    """Stages that take no time: train leaves a run of STEPS steps. Yields those that ran, with variables and stdin."""

    def run_stage(module, variables, stdin="", watch=None):
        ran.append((module, variables, stdin))
        if module == "train":
            build = tmp_path / variables["BUILD"]
            run = Run(runs_folder(build) / "0123456789ab")
            losses = {"first": 9.0, "last": 8.0}
            write_json(run.record, {"steps": STEPS, "loss": losses, "machine": {"gpu": "NVIDIA H100"}})
            head = {"layers_in_4_bits": 0, "trained": 1, "total": STEPS}
            steps = [
                {"step": n, "loss": 9.0 - n / STEPS, "seconds": n / 100, "memory": 20e9, "reserved": 23e9}
                for n in range(1, STEPS + 1)
            ]
            run.work_dir.mkdir()
            (run.work_dir / CURVE).write_text("".join(json.dumps(x) + "\n" for x in [head, *steps]), encoding="utf-8")
            set_last_run(build, run)
            if watch:
                watch()
        return FinishedProcess([module], 0, {"chat": "> …\n> "}.get(module, ""), 1.0, 1.0, 1 << 20)

    ran: list[tuple[str, dict, str]] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(script, "ROOT", tmp_path)
    monkeypatch.setattr("lesson.runs.folder.read_document", lambda path, *_: json.loads(path.read_text()))
    monkeypatch.setattr(smoke, "run_stage", run_stage)
    monkeypatch.setattr(gpu, "run_stage", run_stage)
    monkeypatch.setattr(smoke.random_base, "build_random_base", lambda folder: folder)
    return ran


def test_every_stage_runs_once_and_each_check_has_its_line(call, stages, tmp_path, monkeypatch):
    checks = (smoke.loss_fell, smoke.base_is_in_4_bits, smoke.memory_is_within_limit, smoke.chat_answered)
    monkeypatch.setattr(smoke, "CHECKS", checks)
    status, out, err = call(script, "--build", "build", "--speed", "fast", "--quant", "none")
    assert status == 0, err
    assert [module for module, *_ in stages] == list(smoke.STAGES)
    for module, variables, stdin in stages:
        assert variables["PROFILE"] == "7b" and variables["SPEED"] == "fast" and variables["QUANT"] == "none"
        assert ("MODEL" in variables) == (module == "model") and stdin == ("你是谁？\n" if module == "chat" else "")
    lines = out.splitlines()
    assert [line[:6] for line in lines[:-1]] == ["ok    "] * 4
    assert lines[-1] == f"NVIDIA H100: SPEED=fast, 22 steps, 0.160 s a step, {(23e9 + CUDA_CONTEXT) / 1e9:.1f} GB"
    assert not list((tmp_path / "build").iterdir())


def test_a_check_that_fails_is_marked_and_is_status_1(call, stages, monkeypatch):
    def never(lesson) -> bool:
        """never | 从不"""
        return False

    monkeypatch.setattr(smoke, "CHECKS", (smoke.loss_fell, never))
    status, out, _ = call(script, "--build", "build", "--lang", "zh")
    assert status == 1 and out.splitlines()[1] == "FAIL  从不"


def test_the_first_step_is_noticed_and_the_cache_stays(stages, tmp_path):
    """make bench-gpu's own training: everything but BUILD/cache goes before it."""
    build = tmp_path / "run"
    for name in ("cache/kernel", "runs/old/run.json"):
        write_json(build / name, {})
    last_run_link(build).symlink_to("runs/old")
    figures = gpu.train_variant(build, tmp_path / "base", {"SPEED": "fast"})
    assert [module for module, *_ in stages] == ["data", "model", "config", "train"]
    assert (build / "cache/kernel").is_file() and not (build / "runs/old").exists()
    assert figures["first_step"] > 0 and figures["seconds"] == pytest.approx(0.17) and len(figures["loss"]) == STEPS


def test_every_check_has_a_title_in_both_languages():
    for check in smoke.CHECKS:
        assert len(check.__doc__.splitlines()[0].split(" | ")) == 2, check
