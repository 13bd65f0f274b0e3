"""make bench-export on a model of a few megabytes: what it makes is a run that make export takes."""

from __future__ import annotations

import json

import pytest

from lesson.bench import export as bench
from lesson.core.messages import UserError
from lesson.core.settings import Values
from lesson.model import random_base
from recipe import bench_export

COST = bench.ExportCost("hf", 60.0, 100.0, 2 * 10**9, 15 * 10**9, 15 * 10**9)


def test_a_figure_stands_beside_its_bars():
    assert bench.describe(COST) == (
        "hf: 60 s (100 s of processors), 2.0 GB beyond the file cache, 15.0 GB to 15.0 GB (bars 180 s and 12 GB)"
    )
    for worse in ({"seconds": 181}, {"memory": 13 * 10**9}):
        assert bench.describe(bench.ExportCost(**{**COST.__dict__, **worse})).endswith("  MISSED")


def test_gguf_needs_a_base_whose_tokenizer_is_taken(tmp_path):
    with pytest.raises(UserError, match="MODEL="):
        bench.measure_exports(Values({"BUILD": str(tmp_path), "FORMAT": "gguf"}, {}), None, print)


@pytest.mark.torch
@pytest.mark.slow
def test_the_random_model_is_exported_and_removed(tmp_path, monkeypatch, call):
    monkeypatch.setattr(random_base, "SIZES", {"torch_dtype": "bfloat16"})  # the tiny base's own shape
    monkeypatch.setattr(bench, "SHARD_SIZE", 1 << 20)
    monkeypatch.setattr(bench, "RANDOM", 1000)
    status, out, err = call(bench_export, "--build", str(tmp_path), "--format", "hf", "--layers", "1")
    assert status == 0, err
    (cost,) = json.loads((tmp_path / "bench-export" / "figures.json").read_text())
    assert cost["form"] == "hf" and cost["memory"] > 10**7 and 0.9 < cost["written"] / cost["merged"] < 3
    assert bench.describe(bench.ExportCost(**cost)) in out
    assert [path.name for path in (tmp_path / "bench-export").iterdir()] == ["figures.json"]
