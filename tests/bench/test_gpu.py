"""make bench-gpu's table: what is held against what. The training itself is tests/whole/test_gpu.py's, on a GPU."""

from __future__ import annotations

import json

import pytest

from lesson.bench import gpu
from lesson.bench.smoke import SHAPE
from lesson.core.layout import random_base
from recipe import bench_gpu


def test_a_frozen_weight_costs_two_products_a_token():
    """7.7 billion weights, of which the embedding is looked up: 4 FLOPs for each of the rest and token."""
    assert gpu.count_model_flops(SHAPE, 2048) == pytest.approx(4 * 2048 * 7.36e9, rel=0.01)


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """Trainings that take no time: fast is twice as fast, of the others only TRL is installed."""

    def figures(seconds, first_step):
        figures = {"seconds": seconds, "tokens_per_second": 2048 / seconds, "peak": 12e9, "used": 13e9}
        return figures | {"first_step": first_step, "loss": [2.0, 1.0]}

    def build_random_base(folder):
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(b"weights")
        return folder

    monkeypatch.setattr(gpu.random_base, "build_random_base", build_random_base)
    monkeypatch.setattr(gpu, "measure_product", lambda: 700e12)
    monkeypatch.setattr(
        gpu, "train_variant", lambda build, base, v: figures(0.6 if v["SPEED"] == "stock" else 0.3, 40.0)
    )
    monkeypatch.setattr(gpu, "train_rival", lambda *_: figures(0.4, None))
    monkeypatch.setattr(gpu.importlib.util, "find_spec", lambda name: name if name == "trl" else None)
    monkeypatch.setattr(gpu, "gpu_name", lambda: "NVIDIA H100")
    return tmp_path / "build"


def test_the_table_holds_each_trainer_against_stock(call, measured):
    status, out, err = call(bench_gpu, "--build", str(measured))
    assert status == 0, err
    progress, _, table = out.partition("\n\n")
    assert "llamafactory: not installed, see requirements-bench.txt" in progress and "loss" not in progress
    lines = table.splitlines()
    assert lines[0] == "NVIDIA H100, bf16 product 700 TFLOP/s"
    assert "| fast, 24 GB | 6827 | 2.00 | 28.7% | 12.0 GB | 13.0 GB | 40 s |" in lines
    assert any(line.startswith("| trl | 5120 | 1.50 |") and line.endswith("| – |") for line in lines)
    document = json.loads((measured / "bench-gpu/figures.json").read_text(encoding="utf-8"))
    assert lines[-1] == str(measured / "bench-gpu/figures.json") and document["gpu"] == "NVIDIA H100"
    assert list(document["trainers"]) == [*gpu.VARIANTS, "trl"]
    assert document["trainers"]["trl"]["loss"] == [2.0, 1.0]
    assert not random_base(measured / "bench-gpu").exists()
