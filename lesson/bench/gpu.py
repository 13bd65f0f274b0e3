"""Tokens per second, memory and model FLOP utilisation at 7B on this machine's GPU, side by side.

One random base of the real shape, the shipped rows in packs of 2048 tokens, batch 1. Trained through make's own stages:
stock as the lesson has it (DeepSpeed ZeRO-2), stock without DeepSpeed, fast in 24 GB, in 16 GB, with the base in 8 bits, and
with a whole card. Then the trainers that RIVALS names and that are installed (lesson/bench/rivals.py), on the same rows, LoRA
and batch and a base of the same sizes in Llama's layout, and fast on that base.
"""

from __future__ import annotations

import json
import re
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lesson.bench import rivals, smoke
from lesson.bench.stages import run_stage
from lesson.core import layout
from lesson.core.files import write_json
from lesson.core.machine import gpu_name
from lesson.core.messages import UserError, tr
from lesson.core.processes import run_process
from lesson.core.settings import ROOT, Values
from lesson.model import random_base
from lesson.model.shape import Shape
from lesson.runs.curve import CURVE, read_curve
from lesson.runs.folder import find_last_run

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
# Ours on the rivals' base. They keep all activations with their own tricks, so one row has the room to do so as well.
ON_LLAMA: dict[str, dict[str, str]] = {
    "fast, 24 GB, Llama base": {"SPEED": "fast"},
    "fast, 80 GB, Llama base": {"SPEED": "fast", "GPU_MEMORY": "80"},
}
# bfloat16 FLOP/s without sparsity in NVIDIA's data sheets, by what a GPU's name holds:
# https://www.nvidia.com/en-us/data-center/h100/, …/h200/, …/a100/
DATA_SHEET = {"H200": 989e12, "H100 PCIe": 756e12, "H100 NVL": 835e12, "H100": 989e12, "A100": 312e12}


@dataclass(frozen=True)
class GpuFigures:
    """What was measured; `trainers` are {name: figures as in the JSON document}, the first is what others are held
    against."""

    gpu: str
    product_rate: float  # bfloat16 FLOP/s of a matrix product
    data_sheet: float | None  # the same as the maker states it
    trainers: dict[str, dict]
    file: Path


def measure_trainers(values: Values, report: Callable[[str], object]) -> GpuFigures:
    """Train with each of VARIANTS and of the rivals below BUILD/bench-gpu, whose figures.json then holds the figures.

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
    shutil.rmtree(base)
    trainers |= measure_rivals(values.rivals, root, layout.changed_rows(root / "run"), report)
    rate = (rate + measure_product()) / 2
    gpu, file = gpu_name(), root / "figures.json"
    sheet = data_sheet_rate(gpu)
    add_ratios(trainers, rate, sheet)
    write_json(file, {"gpu": gpu, "product_rate": rate, "data_sheet": sheet, "trainers": trainers})
    return GpuFigures(gpu, rate, sheet, trainers, file)


def data_sheet_rate(gpu: str) -> float | None:
    """What the maker of the GPU of that name states; None where DATA_SHEET does not know it."""
    return next((rate for name, rate in DATA_SHEET.items() if re.search(rf"\b{name}\b", gpu)), None)


def measure_rivals(names: Sequence[str], root: Path, rows: Path, report: Callable[[str], object]) -> dict[str, dict]:
    """The figures of ON_LLAMA and of those of the trainers `names` that are installed, on a base that is built in `root` and
    removed.

    A rival that fails is reported and left out: it is not ours to mend, and the others count. Raises UserError when ours does.
    """
    for name in names:
        if not rivals.interpreter_of(name):
            title, command = rivals.RIVALS[name].title, rivals.how_to_install(name)
            report(
                tr(
                    f"{title} is not installed; to measure it, type: {command}",
                    f"{title} 未安装；要测量它，请输入：{command}",
                )
            )
    installed = [name for name in names if rivals.interpreter_of(name)]
    if not installed:
        return {}
    base = random_base.build_random_llama(root / "llama")
    packs, found = root / "packs.jsonl", {}
    rivals.write_packs(base, rows, packs, LENGTH)
    for row, variables in ON_LLAMA.items():
        report(row)
        found[row] = train_variant(root / "run", base, variables)
        report(short_json(found[row]))
    for name in installed:
        for variant in rivals.RIVALS[name].variants:
            row = f"{rivals.RIVALS[name].title}, {variant}"
            try:
                found[row] = rivals.train_rival(name, variant, root, base, packs, LENGTH)
                report(f"{row} {short_json(found[row])}")
            except UserError as error:
                report(f"{row}: {error}")
    shutil.rmtree(base)
    return found


def add_ratios(trainers: dict[str, dict], rate: float, sheet: float | None) -> None:
    """Add to each trainer's figures how many times the first's tokens per second it has, and its FLOP utilisation: of the
    measured `rate` of products, and of the data `sheet`'s."""
    first = next(iter(trainers.values()))["tokens_per_second"]
    flops = count_model_flops(smoke.SHAPE, 1)
    for figures in trainers.values():
        figures["over_stock"] = figures["tokens_per_second"] / first
        figures["mfu"] = flops * figures["tokens_per_second"] / rate
        figures["mfu_of_sheet"] = flops * figures["tokens_per_second"] / sheet if sheet else None


def lines_of(found: GpuFigures) -> list[str]:
    """The GPU, and the table in Markdown."""
    lines = [
        f"{found.gpu}, bf16 product {found.product_rate / 1e12:.0f} TFLOP/s"
        + (f", {found.data_sheet / 1e12:.0f} in the data sheet" if found.data_sheet else ""),
        "| trainer | tokens/s | over stock | MFU | of the data sheet | peak (torch) | GPU memory used | first step |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, f in found.trainers.items():
        first = f"{f['first_step']:.0f} s" if f["first_step"] else "–"
        sheet = f"{f['mfu_of_sheet']:.1%}" if f["mfu_of_sheet"] else "–"
        lines.append(
            f"| {name} | {f['tokens_per_second']:.0f} | {f['over_stock']:.2f} | {f['mfu']:.1%} | {sheet} "
            f"| {f['peak'] / 1e9:.1f} GB | {f['used'] / 1e9:.1f} GB | {first} |"
        )
    versions = {name: f["versions"] for name, f in found.trainers.items() if f.get("versions")}
    lines += [f"{name}: {', '.join(f'{p} {v}' for p, v in packages.items())}" for name, packages in versions.items()]
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
