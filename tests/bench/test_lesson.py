"""make bench's table: what is measured in which order, and what misses its bar."""

from __future__ import annotations

import json

import pytest

from lesson.bench import lesson
from lesson.core.files import write_json
from lesson.core.processes import FinishedProcess
from lesson.runs.curve import CURVE
from recipe import bench

PROMPT = {"prompt": "none", "questions": 20, "new": 19, "answers": 20, "old": 0, "base": 0, "whole": 20}
EVALUATION = {"prompts": [PROMPT | {"general_kept": 9, "general_base_right": 10}], "failures": []}


@pytest.fixture
def made_up(tmp_path, monkeypatch):
    """Targets of make that write a run's files at once; stock's step takes 0.2 s, fast's 0.1 s. Returns those made."""

    def run_target(target, variables):
        targets.append((target, variables.get("BUILD", "").rpartition("/")[2]))
        if target == "train":
            run = lesson.last_run(tmp_path / variables["BUILD"])
            write_json(run.record, {"curve": [[1, 2.5]]})
            seconds = 0.1 if variables["SPEED"] == "fast" else 0.2
            lines = [{"total": 1}, {"step": 1, "loss": 2.5, "seconds": seconds}]
            run.work_dir.mkdir()
            (run.work_dir / CURVE).write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        elif target == "convert":
            run = lesson.last_run(tmp_path / variables["BUILD"])
            run.adapter.mkdir()
            (run.adapter / "adapter_model.safetensors").write_bytes(variables["NEW_NAME"].encode())
        elif target == "eval":
            run = lesson.last_run(tmp_path / variables["BUILD"])
            write_json(run.evaluation / "evaluation.json", EVALUATION)
        screen = (
            "== 7 passed in 3.1s ==\n== 2 passed, 1 skipped in 9.0s ==\n" if target == "test" else "5 passed in 1s\n"
        )
        return FinishedProcess(["make", target], 0, screen, 15.0, 20.0, 2 << 30)

    targets: list[tuple[str, str]] = []
    monkeypatch.setattr(lesson, "run_target", run_target)
    monkeypatch.setattr(bench, "ROOT", tmp_path)
    monkeypatch.chdir(tmp_path)
    return targets


def test_the_table_has_every_figure_and_meets_its_bars(call, made_up, tmp_path):
    status, out, err = call(bench, "--new-name", "闻星")
    assert status == 0, err
    table = out.partition("\n\n")[2].splitlines()
    assert "| make data && make train | 30 s, again 30 s | at most 150 s |" in table
    assert "| SPEED=fast: a step, over stock's | 2.00 (30 s in all) | at least 1.5 |" in table
    assert "| same seed twice | identical | identical losses and adapter bytes |" in table
    assert "| right name, questions never trained on | none 19/20 | at least 95% each |" in table
    assert "| make test | 15 s (7 passed in 3.1s, 2 passed, 1 skipped in 9.0s) | under 360 s |" in table
    assert table[-1] == "build/bench/figures.json" and "MISSED" not in out
    assert len(json.loads((tmp_path / table[-1]).read_text(encoding="utf-8"))) == len(table) - 4
    assert made_up[:2] == [("data", "a"), ("train", "a")] and made_up[-1] == ("test", "")


def test_a_missed_bar_is_marked_and_is_status_1(call, made_up, monkeypatch):
    monkeypatch.setitem(EVALUATION, "failures", [{"bar": "new"}])
    status, out, _ = call(bench)
    assert status == 1
    assert [line for line in out.splitlines() if "MISSED" in line] == [
        "| right name, questions never trained on | none 19/20 | at least 95% each — MISSED |"
    ]
