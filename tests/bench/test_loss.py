"""make bench-loss: every way is held against the first, and one that is trained already is not trained again."""

from __future__ import annotations

import json
import zipfile

from lesson.bench import loss
from lesson.runs.curve import CURVE
from recipe import bench_loss


def test_each_way_has_a_line_against_the_first(call, monkeypatch):
    def train_way(build, variables, libraries, name):
        assert (build.name, name) in [(way, "闻星") for way in loss.WAYS]
        return [(step, 2.0 + (step > 30) * ("SEED" in variables)) for step in range(1, 41)]

    monkeypatch.setattr(loss, "train_way", train_way)
    status, out, _ = call(bench_loss, "--new-name", "闻星")
    heading, *lines = out.splitlines()
    assert status == 0 and heading.split()[:3] == ["against", "plain", "verdict"]
    assert [line.split()[0] for line in lines] == list(loss.WAYS)
    assert {line.split()[1] for line in lines[:-2]} == {"identical"} and lines[0].endswith("0 0")
    assert lines[-1].split()[1] != "identical" and lines[-1].endswith("0 0")  # the first steps are equal


def test_a_finished_curve_is_read_and_not_trained(tmp_path, monkeypatch):
    work = tmp_path / "work_dir"
    work.mkdir()
    with zipfile.ZipFile(work / "iter_2.pth", "w") as checkpoint:
        checkpoint.writestr("data.pkl", "")
    lines = [{"total": 2}, {"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}]
    (work / CURVE).write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    monkeypatch.setattr(loss, "run_stage", None)  # is not called
    assert loss.train_way(tmp_path, {}, {}, "闻星") == [(1, 2.0), (2, 1.0)]
