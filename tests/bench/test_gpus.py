"""make bench-gpus: which trainings it makes, what they are held against, and what happens when one fails; once for real
with two processes on the CPU."""

from __future__ import annotations

import json

import pytest

from lesson.bench import gpus
from lesson.core.files import write_json
from lesson.core.layout import random_base, runs_folder
from lesson.core.messages import UserError
from lesson.core.processes import FinishedProcess
from lesson.runs.curve import CURVE
from lesson.runs.folder import Run, set_last_run
from lesson.training.memory import CUDA_CONTEXT
from recipe import bench_gpus

PASSES = 8  # of a training here
SECONDS = {"fast": 0.16, "stock (ZeRO-2)": 0.6, "stock, plain data parallel": 0.7}


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A host with two GPUs and trainings that take no time. Yields the variables of each; ZeRO-2 fails on two GPUs."""
    trained: list[dict[str, str]] = []

    def build_random_base(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.safetensors").write_bytes(b"weights")
        return folder

    def run_stage(module, variables, watch=None):
        if module != "train":
            return
        trained.append(variables)
        count, name = int(variables["NPROC_PER_NODE"]), gpus_name(variables)
        if (count, name) == (2, "stock (ZeRO-2)"):
            FinishedProcess([], 1, "rank 1 ran out of memory\n", 1.0, 1.0, 0).require_success("recipe.train")
        build = tmp_path / variables["BUILD"]
        run = Run(runs_folder(build) / "0123456789ab")
        run.work_dir.mkdir(parents=True)
        slow = SECONDS[name] * (1.05 if count > 1 else 1)
        lines = [{"total": PASSES}] + [
            {"step": n, "loss": 2.0, "lr": 0.1, "tokens": 2048 * count, "memory": 20e9, "reserved": 23e9}
            | {"seconds": slow if n > PASSES // 2 else 9.0}  # warming up does not count
            for n in range(1, PASSES + 1)
        ]
        (run.work_dir / CURVE).write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        write_json(run.record, {})
        set_last_run(build, run)
        watch()

    monkeypatch.setattr(gpus, "count_gpus", lambda: 2)
    monkeypatch.setattr(gpus, "gpu_name", lambda: "NVIDIA H100")
    monkeypatch.setattr(gpus.random_base, "build_random_base", build_random_base)
    monkeypatch.setattr(gpus, "run_stage", run_stage)

    def run_process(command, environment, folder):
        write_json(tmp_path / "build/bench-gpus/all-reduce.json", {"bytes": 600_000_000, "seconds": 0.002})
        return FinishedProcess(command, 0, "", 1.0, 1.0, 0)

    monkeypatch.setattr(gpus, "run_process", run_process)
    return trained


def gpus_name(variables: dict[str, str]) -> str:
    return next(name for name, given in gpus.TRAINERS.items() if given.items() <= variables.items())


@pytest.fixture
def bench(call, tmp_path):
    return lambda *more: call(bench_gpus, "--profile", "7b", "--build", str(tmp_path / "build"), *more)


def test_each_trainer_is_held_against_itself_on_one_gpu_and_one_that_fails_stops_no_other(host, bench, tmp_path):
    status, out, err = bench()
    assert status == 1, err
    lines = out.splitlines()
    assert "fast, 2 GPUs, 2 packs a step" in lines and "all-reduce over 2 GPUs" in lines
    assert "  recipe.train: exit status 1: rank 1 ran out of memory" in lines
    used = f"{(23e9 + CUDA_CONTEXT) / 1e9:.1f} GB"
    assert f"| fast | 1 | 12800 | 1.00 | 100.0% | {used} | 0 s |" in lines
    assert f"| fast | 2 | 24381 | 1.90 | 95.2% | {used} | 0 s |" in lines
    assert "| stock (ZeRO-2) | 2 | failed | – | – | – | – |" in lines
    assert "all-reduce, 2 × 600 MB: 2.0 ms, 300 GB/s" in lines and "fast, 2: 1.90 ≥ 1.9: reached" in lines
    document = json.loads((tmp_path / "build/bench-gpus/figures.json").read_text(encoding="utf-8"))
    assert lines[-1] == str(tmp_path / "build/bench-gpus/figures.json")
    assert len(document["rows"]) == 12 and sum(row["error"] is not None for row in document["rows"]) == 2
    assert not random_base(tmp_path / "build/bench-gpus").exists()


def test_the_same_batch_in_all_is_made_in_several_passes_on_fewer_gpus_and_nothing_is_trained_twice(host, bench):
    bench()
    made = [(gpus_name(v), int(v["NPROC_PER_NODE"]), int(v["ACCUM"]), int(v["EPOCHS"])) for v in host]
    assert made[:2] == [("fast", 1, 1, 1), ("fast", 2, 1, 2)]
    assert made[6:] == [(name, 1, 2, 2) for name in gpus.TRAINERS]  # two GPUs make two packs in one pass already
    assert len(made) == len(set(made)) == 9


def test_a_step_of_several_passes_is_all_of_them(host, bench, tmp_path):
    bench()
    document = json.loads((tmp_path / "build/bench-gpus/figures.json").read_text(encoding="utf-8"))
    row = next(row for row in document["rows"] if (row["trainer"], row["batch"], row["gpus"]) == ("fast", "all", 1))
    assert row["step"] == pytest.approx(0.32) and row["tokens_per_second"] == pytest.approx(12800)


@pytest.mark.parametrize("count", [None, 0, 1])
def test_fewer_than_two_gpus_are_refused_with_what_to_type(bench, monkeypatch, tmp_path, count):
    monkeypatch.setattr(gpus, "count_gpus", lambda: count)
    status, out, err = bench()
    assert (status, out) == (2, "") and err.startswith("error: bench-gpus: ") and err.count("\n") == 1
    assert "make bench-gpu;" in err and "PROFILE=tiny" in err and not (tmp_path / "build").exists()


def test_on_eight_gpus_all_powers_of_two_are_measured(monkeypatch):
    for there, counts in ((2, [1, 2]), (3, [1, 2]), (4, [1, 2, 4]), (8, [1, 2, 4, 8])):
        monkeypatch.setattr(gpus, "count_gpus", lambda there=there: there)
        assert gpus.list_counts(gpus.Values({"PROFILE": "7b"}, {})) == counts
    rows = list(gpus.list_rows([1, 2, 4, 8]))
    assert [(row.gpus, row.packs) for row in rows if row.trainer == "fast"] == [
        *((1, 1), (2, 2), (4, 4), (8, 8)),
        *((1, 8), (2, 8), (4, 8), (8, 8)),
    ]


def test_a_base_that_cannot_be_made_is_said(bench, monkeypatch, host):
    def refuse(folder):
        raise UserError(folder, "3 GiB free", "set BUILD")

    monkeypatch.setattr(gpus.random_base, "build_random_base", refuse)
    assert bench()[0] == 2


@pytest.mark.torch
@pytest.mark.slow
def test_two_processes_on_the_cpu_go_through_it(call, tmp_path, monkeypatch):
    """With the tiny base, fast alone, few rows, two processes: each figure is there that a CPU has."""
    every = gpus.list_rows
    monkeypatch.setattr(gpus, "list_rows", lambda counts: [row for row in every(counts) if row.gpus == 2][:1])
    monkeypatch.setattr(gpus, "TRAINERS", {"fast": gpus.TRAINERS["fast"]})
    monkeypatch.setattr(gpus, "ROWS", {"tiny": 40})
    status, out, err = call(bench_gpus, "--profile", "tiny", "--build", str(tmp_path / "build"))
    assert status == 0, out + err
    document = json.loads((tmp_path / "build/bench-gpus/figures.json").read_text(encoding="utf-8"))
    assert document["gpu"] == "CPU" and document["all_reduce"]["2"] > 0
    found = [(row["gpus"], row["packs"], row["peak"]) for row in document["rows"]]
    assert found == [(2, 2, None)]
    assert all(row["tokens_per_second"] > 0 and row["first_step"] > 0 for row in document["rows"]), document
    assert "MISSED" not in out  # the bars are of GPUs
