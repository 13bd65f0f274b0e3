"""make bench-gpu: tokens per second, memory and model FLOP utilisation at 7B on this machine's GPU, side by side.

One random base of the real shape, the shipped rows in packs of 2048 tokens, batch 1. Trained through make's own stages:
stock as the lesson has it (DeepSpeed ZeRO-2), stock without DeepSpeed, fast in 24 GB, fast in 16 GB. With the packages
of requirements-bench.txt on PYTHONPATH also TRL and LLaMA-Factory (lesson/bench/rivals.py) on the same base, rows, LoRA
and batch. Prints a table and writes BUILD/bench-gpu/figures.json.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from lesson.bench import smoke
from lesson.core import cli, layout
from lesson.core.files import read_json, write_json
from lesson.core.machine import gpu_name
from lesson.core.messages import UserError, tr
from lesson.core.settings import ROOT, Values
from lesson.model import random_base
from lesson.model.shape import Shape
from lesson.runs.curve import CURVE, read_curve
from lesson.runs.folder import find_last_run
from lesson.training.memory import CUDA_CONTEXT

SETTINGS = ["BUILD", "NEW_NAME"]
LENGTH = 2048  # tokens of a pack
VARIANTS: dict[str, dict[str, str]] = {
    "stock (ZeRO-2)": {"SPEED": "stock"},
    "stock, no DeepSpeed": {"SPEED": "stock", "DEEPSPEED": "none"},
    "fast, 24 GB": {"SPEED": "fast"},
    "fast, 16 GB (NF4)": {"SPEED": "fast", "QUANT": "nf4"},
}
RIVALS = ("trl", "llamafactory")


def product_rate() -> float:
    """bfloat16 FLOP/s of an 8192³ matrix product on this GPU: the mean of 20 after 3 to warm up."""
    code = """if True:
        import time, torch
        a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
        for _ in range(3): a @ b
        torch.cuda.synchronize(); start = time.perf_counter()
        for _ in range(20): a @ b
        torch.cuda.synchronize(); print(20 * 2 * 8192**3 / (time.perf_counter() - start))
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


def model_flops(shape: Shape, tokens: int) -> float:
    """FLOPs that a step of `tokens` needs: 2 a weight and token forward, 2 for the gradient by the input.

    Of the frozen base only: no weight gradients, no LoRA, no attention products, and what is computed again in the
    backward pass is not counted. The embedding is a look-up; the output layer is a product.
    """
    return 4.0 * tokens * (shape.linear_parameters + shape.hidden * shape.vocabulary)


def train(build: Path, base: Path, variables: dict[str, str]) -> dict:
    """One training through make's stages; seconds to the first step are from the start of `make train`, which begins
    with the config and the base. BUILD/cache stays from the training before: the first variant fills it."""
    for path in build.glob("*"):
        if path.name != "cache":
            path.unlink() if path.is_symlink() or path.is_file() else shutil.rmtree(path)
    smoke.stage(build, "data", **variables)
    started, first = time.perf_counter(), None
    for module in ("config", "model"):
        smoke.stage(build, module, MODEL=str(base), **variables)
    process = subprocess.Popen(
        [sys.executable, "-m", "recipe.train"],
        cwd=ROOT,
        env=smoke.environment(build, **variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    while process.poll() is None:
        if first is None and smoke.steps_done(build) > 0:
            first = time.perf_counter() - started
        time.sleep(0.05)
    if process.returncode:
        print(process.stdout.read().decode(errors="replace")[-3000:], file=sys.stderr)
        raise UserError(build, tr("training failed", "训练失败"), tr("read the lines above", "请查看上面的输出"))
    run = find_last_run(Values({"BUILD": str(build), "PROFILE": "7b"}))
    steps = read_curve(run.work_dir / CURVE)[1:]
    seconds = statistics.median(s["seconds"] for s in steps[len(steps) // 2 :])
    return {
        "seconds": seconds,
        "tokens_per_second": LENGTH / seconds,
        "peak": max(s["memory"] for s in steps),
        "used": smoke.used(run),
        "first_step": first,
        "loss": [s["loss"] for s in steps],
    }


def rival(name: str, folder: Path, base: Path, data: Path) -> dict | None:
    """recipe.bench_rivals in a process of its own; None where its packages are not installed."""
    if importlib.util.find_spec(name) is None:
        print(tr(f"{name}: not installed, see requirements-bench.txt", f"{name}：未安装，见 requirements-bench.txt"))
        return None
    out = folder / f"{name}.json"
    command = [sys.executable, "-m", "lesson.bench.rivals", name, "--model", str(base), "--data", str(data)]
    done = subprocess.run(
        [*command, "--length", str(LENGTH), "--steps", "20", "--out", str(out)], capture_output=True, text=True
    )
    if done.returncode:
        print((done.stdout + done.stderr)[-3000:], file=sys.stderr)
        raise UserError(name, tr("failed", "失败"), tr("read the lines above", "请查看上面的输出"))
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


def bench(values: Values) -> int:
    root = layout.bench_folder(values.build, "bench-gpu")
    base = random_base.build_random_base(layout.random_base(root))
    # Weights in the page cache, as the bar for the first step has it.
    for shard in base.glob("*.safetensors"):
        shard.read_bytes()
    rate = product_rate()
    flops = model_flops(smoke.SHAPE, LENGTH)
    figures: dict[str, dict] = {}
    for name, variables in VARIANTS.items():
        print(name, flush=True)
        figures[name] = train(root / "run", base, variables)
        print(json.dumps({k: v for k, v in figures[name].items() if k != "loss"}), flush=True)
    for name in RIVALS:
        if found := rival(name, root, base, layout.changed_rows(root / "run")):
            figures[name] = found
            print(name, json.dumps({k: v for k, v in found.items() if k != "loss"}), flush=True)
    rate = (rate + product_rate()) / 2
    stock = figures["stock (ZeRO-2)"]["tokens_per_second"]
    gpu = gpu_name()
    print(f"\n{gpu}, bf16 product {rate / 1e12:.0f} TFLOP/s")
    print("| trainer | tokens/s | over stock | MFU | peak (torch) | GPU memory used | first step |")
    print("|---|---|---|---|---|---|---|")
    for name, f in figures.items():
        f |= {"over_stock": f["tokens_per_second"] / stock, "mfu": flops / f["seconds"] / rate}
        first = f"{f['first_step']:.0f} s" if f["first_step"] else "–"
        print(
            f"| {name} | {f['tokens_per_second']:.0f} | {f['over_stock']:.2f} | {f['mfu']:.1%} | {f['peak'] / 1e9:.1f} GB "
            f"| {f['used'] / 1e9:.1f} GB | {first} |"
        )
    write_json(root / "figures.json", {"gpu": gpu, "product_rate": rate, "trainers": figures})
    shutil.rmtree(base)
    print(root / "figures.json")
    return 0


def main(arguments: list[str] | None = None) -> int:
    os.chdir(ROOT)
    return cli.run("bench_gpu", __doc__, SETTINGS, bench, sys.argv[1:] if arguments is None else arguments)
