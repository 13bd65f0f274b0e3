"""make bench-gpu's table: what is held against what. The training itself is tests/whole/test_gpu.py's, on a GPU."""

from __future__ import annotations

import json

import pytest

from lesson.bench import gpu
from lesson.bench.smoke import SHAPE
from lesson.core.layout import random_base
from lesson.core.messages import UserError
from recipe import bench_gpu


def test_a_frozen_weight_costs_two_products_a_token():
    """7.7 billion weights, of which the embedding is looked up: 4 FLOPs for each of the rest and token."""
    assert gpu.count_model_flops(SHAPE, 2048) == pytest.approx(4 * 2048 * 7.36e9, rel=0.01)


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """Trainings that take no time: fast is twice as fast; of the others TRL is installed, and axolotl, which fails."""

    def figures(seconds, first_step):
        figures = {"seconds": seconds, "tokens_per_second": 2048 / seconds, "peak": 12e9, "used": 13e9}
        return figures | {"first_step": first_step, "loss": [2.0, 1.0]}

    def build_base(folder):
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(b"weights")
        return folder

    def train_rival(name, variant, *_):
        if name == "axolotl":
            raise UserError("axolotl", "exit status 1", "read the lines above")
        return figures(0.4, None) | {"versions": {"trl": "1.16.0"}}

    monkeypatch.setattr(gpu.random_base, "build_random_base", build_base)
    monkeypatch.setattr(gpu.random_base, "build_random_llama", build_base)
    monkeypatch.setattr(gpu, "measure_product", lambda: 700e12)
    monkeypatch.setattr(
        gpu, "train_variant", lambda build, base, v: figures(0.6 if v["SPEED"] == "stock" else 0.3, 40.0)
    )
    monkeypatch.setattr(gpu.rivals, "train_rival", train_rival)
    monkeypatch.setattr(gpu.rivals, "write_packs", lambda *_: 22)
    monkeypatch.setattr(gpu.rivals, "interpreter_of", lambda name: "python" if name in ("trl", "axolotl") else None)
    monkeypatch.setattr(gpu, "gpu_name", lambda: "NVIDIA H100 80GB HBM3")
    return tmp_path / "build"


def test_the_table_holds_each_trainer_against_stock(call, measured):
    """With both denominators of utilisation; of a rival that is not there it is said what to type, one that fails is left
    out, and nothing of the bases stays."""
    status, out, err = call(bench_gpu, "--build", str(measured))
    assert status == 0, err
    progress, _, table = out.partition("\n\n")
    assert "NeMo AutoModel is not installed; to measure it, type: python3 -m venv .venv-rivals/nemo && " in progress
    assert "axolotl, own tricks: " in progress and "loss" not in progress
    lines = table.splitlines()
    assert lines[0] == "NVIDIA H100 80GB HBM3, bf16 product 700 TFLOP/s, 989 in the data sheet"
    assert "| fast, 24 GB | 6827 | 2.00 | 28.7% | 20.3% | 12.0 GB | 13.0 GB | 40 s |" in lines
    assert any(
        line.startswith("| TRL with PEFT, own tricks | 5120 | 1.50 |") and line.endswith("| – |") for line in lines
    )
    assert "TRL with PEFT, as it comes: trl 1.16.0" in lines
    document = json.loads((measured / "bench-gpu/figures.json").read_text(encoding="utf-8"))
    assert lines[-1] == str(measured / "bench-gpu/figures.json") and document["gpu"].startswith("NVIDIA H100")
    rows = [f"TRL with PEFT, {variant}" for variant in ("as it comes", "own tricks")]
    assert list(document["trainers"]) == [*gpu.VARIANTS, *gpu.ON_LLAMA, *rows]
    assert "| fast, 80 GB, Llama base | 6827 | 2.00 |" in table
    assert document["trainers"][rows[1]]["loss"] == [2.0, 1.0] and document["data_sheet"] == 989e12
    assert not random_base(measured / "bench-gpu").exists() and not (measured / "bench-gpu/llama").exists()


def test_without_rivals_no_second_base_is_built(call, measured, monkeypatch):
    monkeypatch.setattr(gpu.random_base, "build_random_llama", None)
    monkeypatch.setattr(gpu, "gpu_name", lambda: "NVIDIA RTX A1000")  # in no list of ours: not an A100
    status, out, err = call(bench_gpu, "--build", str(measured), "--rivals", "none")
    assert status == 0, err
    assert "not installed" not in out and "Llama base" not in out and "data sheet" not in out.split("\n| trainer")[0]
    assert "| fast, 24 GB | 6827 | 2.00 | 28.7% | – | 12.0 GB |" in out
