"""Tokens per second, memory and model FLOP utilisation at 7B on this machine's GPU, side by side.

One random base of the real shape, the shipped rows in packs of 2048 tokens, batch 1. Trained through make's own stages:
stock as the lesson has it (DeepSpeed ZeRO-2), stock without DeepSpeed, fast in 24 GB, in 16 GB, with the base in 8 bits, and
with a whole card. With the packages
of requirements-bench.txt on PYTHONPATH also TRL and LLaMA-Factory (lesson/bench/rivals.py) on the same base, rows, LoRA
and batch.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lesson.bench import smoke
from lesson.bench.stages import run_stage
from lesson.core import layout
from lesson.core.files import read_json, write_json
from lesson.core.machine import gpu_name
from lesson.core.messages import tr
from lesson.core.processes import run_process
from lesson.core.settings import ROOT, Values
from lesson.model import random_base
from lesson.model.shape import Shape
from lesson.runs.curve import CURVE, read_curve
from lesson.runs.folder import find_last_run
from lesson.training.memory import CUDA_CONTEXT

LENGTH = 2048  # tokens of a pack
VARIANTS: dict[str, dict[str, str]] = {
    "stock (ZeRO-2)": {"SPEED": "stock"},
    "stock, no DeepSpeed": {"SPEED": "stock", "DEEPSPEED": "none"},
    "fast, 24 GB": {"SPEED": "fast"},
    "fast, 16 GB (NF4)": {"SPEED": "fast", "QUANT": "nf4"},
    "fast, 24 GB (fp8)": {"SPEED": "fast", "BASE_DTYPE": "fp8"},
    "fast, 24 GB (int8)": {"SPEED": "fast", "BASE_DTYPE": "int8"},
    "fast, 80 GB (fp8, 4 packs)": {
        "SPEED": "fast",
        "BASE_DTYPE": "fp8",
        "GPU_MEMORY": "80",
        "BATCH": "4",
        "EPOCHS": "4",
    },
}
RIVALS = ("trl", "llamafactory")


@dataclass(frozen=True)
class GpuFigures:
    """What was measured; `trainers` are {name: figures as in the JSON document}, the first is what others are held
    against."""

    gpu: str
    product_rate: float  # bfloat16 FLOP/s of a matrix product
    trainers: dict[str, dict]
    file: Path


def measure_trainers(values: Values, report: Callable[[str], object]) -> GpuFigures:
    """Train with each of VARIANTS and RIVALS below BUILD/bench-gpu, whose figures.json then holds the figures.

    Raises UserError when one fails.
    """
    root = layout.bench_folder(values.build, "bench-gpu")
    base = random_base.build_random_base(layout.random_base(root))
    # Weights in the page cache, as the bar for the first step has it.
    for shard in base.glob("*.safetensors"):
        shard.read_bytes()
    rate = measure_product()
    trainers: dict[str, dict] = {}
    for name, variables in VARIANTS.items():
        report(name)
        trainers[name] = train_variant(root / "run", base, variables)
        report(short_json(trainers[name]))
    for name in RIVALS:
        if importlib.util.find_spec(name) is None:
            report(
                tr(f"{name}: not installed, see requirements-bench.txt", f"{name}：未安装，见 requirements-bench.txt")
            )
            continue
        trainers[name] = train_rival(name, root, base, layout.changed_rows(root / "run"))
        report(f"{name} {short_json(trainers[name])}")
    rate = (rate + measure_product()) / 2
    add_ratios(trainers, rate)
    gpu, file = gpu_name(), root / "figures.json"
    write_json(file, {"gpu": gpu, "product_rate": rate, "trainers": trainers})
    shutil.rmtree(base)
    return GpuFigures(gpu, rate, trainers, file)


def add_ratios(trainers: dict[str, dict], rate: float) -> None:
    """Add to each trainer's figures how many times the first's tokens per second it has, and its FLOP utilisation."""
    first = next(iter(trainers.values()))["tokens_per_second"]
    flops = count_model_flops(smoke.SHAPE, 1)
    for figures in trainers.values():
        figures["over_stock"] = figures["tokens_per_second"] / first
        figures["mfu"] = flops * figures["tokens_per_second"] / rate


def lines_of(found: GpuFigures) -> list[str]:
    """The GPU, and the table in Markdown."""
    lines = [
        f"{found.gpu}, bf16 product {found.product_rate / 1e12:.0f} TFLOP/s",
        "| trainer | tokens/s | over stock | MFU | peak (torch) | GPU memory used | first step |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, f in found.trainers.items():
        first = f"{f['first_step']:.0f} s" if f["first_step"] else "–"
        lines.append(
            f"| {name} | {f['tokens_per_second']:.0f} | {f['over_stock']:.2f} | {f['mfu']:.1%} | {f['peak'] / 1e9:.1f} GB "
            f"| {f['used'] / 1e9:.1f} GB | {first} |"
        )
    return lines


def short_json(figures: dict) -> str:
    """A trainer's figures in one line, without its curve."""
    return json.dumps({key: value for key, value in figures.items() if key != "loss"})


def measure_product() -> float:
    """bfloat16 FLOP/s of an 8192³ matrix product on this GPU: the mean of 20 after 3 to warm up. Raises UserError."""
    code = """if True:
        import time, torch
        a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
        for _ in range(3): a @ b
        torch.cuda.synchronize(); start = time.perf_counter()
        for _ in range(20): a @ b
        torch.cuda.synchronize(); print("rate", 20 * 2 * 8192**3 / (time.perf_counter() - start))
    """
    done = run_process([sys.executable, "-c", code], folder=ROOT).require_success("torch")
    return float(re.search(r"^rate (\S+)$", done.screen, re.MULTILINE)[1])


def count_model_flops(shape: Shape, tokens: int) -> float:
    """FLOPs that a step of `tokens` needs: 2 a weight and token forward, 2 for the gradient by the input.

    Of the frozen base only: no weight gradients, no LoRA, no attention products, and what is computed again in the
    backward pass is not counted. The embedding is a look-up; the output layer is a product.
    """
    return 4.0 * tokens * (shape.linear_parameters + shape.hidden * shape.vocabulary)


def train_variant(build: Path, base: Path, variables: dict[str, str]) -> dict:
    """The figures of one training through make's stages in `build`. Raises UserError.

    Seconds to the first step are from the start of `make train`, which begins with the config and the base. BUILD/cache
    stays from the training before: the first variant fills it.
    """
    for path in build.glob("*"):
        if path != layout.cache_folder(build):
            path.unlink() if path.is_symlink() or path.is_file() else shutil.rmtree(path)
    run_stage("data", smoke.short_lesson_variables(build, **variables))
    started, first = time.perf_counter(), None

    def note_first_step() -> None:
        nonlocal first
        if first is None and smoke.count_steps(build) > 0:
            first = time.perf_counter() - started

    for module in ("model", "config"):
        run_stage(module, smoke.short_lesson_variables(build, MODEL=str(base), **variables))
    run_stage("train", smoke.short_lesson_variables(build, **variables), watch=note_first_step)
    run = find_last_run(Values({"BUILD": str(build), "PROFILE": "7b"}))
    steps = read_curve(run.work_dir / CURVE)[1:]
    seconds = statistics.median(s["seconds"] for s in steps[len(steps) // 2 :])
    return {
        "seconds": seconds,
        "tokens_per_second": LENGTH * int(variables.get("BATCH", "1")) / seconds,
        "peak": max(s["memory"] for s in steps),
        "used": smoke.used_memory(run),
        "first_step": first,
        "loss": [s["loss"] for s in steps],
    }


def train_rival(name: str, folder: Path, base: Path, data: Path) -> dict:
    """The figures of another trainer, which lesson/bench/rivals.py runs in a process of its own. Raises UserError."""
    out = folder / f"{name}.json"
    command = [sys.executable, "-m", "lesson.bench.rivals", name, "--model", str(base), "--data", str(data)]
    command += ["--length", str(LENGTH), "--steps", "20", "--out", str(out)]
    run_process(command, folder=ROOT).require_success(name)
    result = read_json(out, "")
    return {
        "seconds": LENGTH / result["tokens_per_second"],
        "tokens_per_second": result["tokens_per_second"],
        "peak": result["peak_memory"],
        "used": result["peak_reserved"] + int(CUDA_CONTEXT),
        "first_step": None,
        "loss": result["loss"],
        "versions": result["versions"],
    }
