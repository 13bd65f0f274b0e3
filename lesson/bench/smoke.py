"""make smoke-7b: the whole lesson at 7B on this machine's GPU, with random weights, in a few minutes; all removed after.

Every stage runs as make runs it, on a random base of the real shape (lesson/model/random_base.py), one epoch of the shipped
rows, 22 steps. What it learned means nothing; that it trains, in which memory, and what it leaves, is checked. Each
check's docstring is the line that is printed. `pytest -m gpu` runs the same checks.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lesson.core import cli, layout
from lesson.core.messages import UserError, tr
from lesson.core.settings import ROOT, Values
from lesson.model import random_base
from lesson.model.shape import lora_parameters, shape_of
from lesson.runs.curve import CURVE, read_curve
from lesson.runs.folder import Run, find_last_run
from lesson.training.memory import CUDA_CONTEXT

SETTINGS = ["PROFILE", "SPEED", "QUANT", "BUILD", "NEW_NAME", "DEEPSPEED", "FORCE"]
MEMORY = {("stock", "nf4"): 24e9, ("fast", "none"): 24e9, ("fast", "nf4"): 16e9}  # bytes, context included
LINEARS = 5 * 32  # of InternLM2's layers; the output layer is not quantised
STAGES = ("data", "model", "config", "train", "convert", "merge", "chat")
SHAPE = shape_of({"model_type": "internlm2", **random_base.SIZES}, "random base")


def environment(build: Path, **variables: str) -> dict[str, str]:
    """The environment of a stage of the short lesson in `build`.

    One epoch, a short answer: the warm-up must have two steps, and random weights never end an answer.
    """
    small = {"EPOCHS": "1", "WARMUP": "0.1", "SAVE_STEPS": "10", "ANSWER_TOKENS": "8"}
    return {**os.environ, **small, **variables, "PROFILE": "7b", "BUILD": str(build), "LANG": "C.UTF-8"}


def stage(build: Path, module: str, stdin: str = "", **variables: str) -> str:
    """Run a stage as make does and return what the screen shows. Raises UserError when it fails."""
    command = [sys.executable, "-m", f"recipe.{module}"]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(build, **variables), input=stdin, capture_output=True, text=True
    )
    screen = done.stdout + done.stderr
    if done.returncode:
        print(screen[-4000:], file=sys.stderr)
        raise UserError(f"recipe.{module}", tr(f"exit status {done.returncode}", f"退出码 {done.returncode}"), "")
    return screen


def steps_done(build: Path) -> int:
    """The steps that a training in `build` has made so far."""
    return max((len(read_curve(path)) - 1 for path in build.glob(f"runs/*/work_dir/{CURVE}")), default=0)


@dataclass
class Smoke:
    """What a run through all stages left: its folder and the answer that the chat gave."""

    run: Run
    speed: str
    quantised: bool
    screens: dict[str, str]  # what each stage showed

    @property
    def head(self) -> dict:
        return read_curve(self.run.work_dir / CURVE)[0]


def through(build: Path, speed: str = "stock", stages: tuple[str, ...] = STAGES, **variables: str) -> Smoke:
    """The lesson's stages in the folder `build`, the last a chat of one question; each is up to date if it was done."""
    base = random_base.build_random_base(layout.random_base(build.parent))
    variables |= {"SPEED": speed}
    screens = {}
    for module in stages:
        more = {"MODEL": str(base)} if module == "model" else {}
        screens[module] = stage(build, module, stdin="你是谁？\n" if module == "chat" else "", **variables, **more)
    run = find_last_run(Values({"BUILD": str(build), "PROFILE": "7b"}))
    return Smoke(run, speed, speed == "stock" or variables.get("QUANT") == "nf4", screens)


def trained(smoke: Smoke) -> bool:
    """at least 20 steps, every loss a number, the last lower than the first | 至少 20 步，损失都是数值且下降"""
    record = smoke.run.read_record()
    return record["steps"] >= 20 and record["loss"]["last"] < record["loss"]["first"]


def four_bits(smoke: Smoke) -> bool:
    """the base's linear layers are in 4 bits, or none is where QUANT=none | 基座线性层为 4 位（QUANT=none 时都不是）"""
    return smoke.head["layers_in_4_bits"] == (LINEARS if smoke.quantised else 0)


def only_lora(smoke: Smoke) -> bool:
    """only LoRA weights were trained; the engine found every other weight's bits unchanged | 只训练了 LoRA，其余权重逐位不变"""
    return smoke.head["trained"] == lora_parameters(SHAPE, 64)


def memory(smoke: Smoke) -> bool:
    """peak GPU memory, CUDA context included, within 24 GB (16 GB for fast with QUANT=nf4) | 显存峰值不超过 24 GB（fast 加 nf4 为 16 GB）"""
    return used(smoke.run) <= MEMORY[smoke.speed, "nf4" if smoke.quantised else "none"]


def used(run: Run) -> int:
    """The most GPU memory that training took, in bytes: what torch reserved, and the CUDA context."""
    return max(line["reserved"] for line in read_curve(run.work_dir / CURVE)[1:]) + int(CUDA_CONTEXT)


def adapter(smoke: Smoke) -> bool:
    """the adapter is in safetensors and holds both matrices of every adapted layer | 适配器为 safetensors，包含每层的两个矩阵"""
    from safetensors import safe_open

    with safe_open(smoke.run.adapter / "adapter_model.safetensors", "pt") as file:
        return len(list(file.keys())) == 2 * (LINEARS + 1)


def merged(smoke: Smoke) -> bool:
    """the merged model is there and differs from the base in every adapted layer | 合并后的模型在每个适配层都不同于基座"""
    found = re.search(r"(\d+) of (\d+) tensors differ", smoke.screens["merge"])
    return bool(found) and int(found[1]) == LINEARS + 1


def answered(smoke: Smoke) -> bool:
    """the merged model answers a question and waits for the next | 合并后的模型回答一个问题，并等待下一个

    What it says may be nothing: weights that are all but random often choose the token that ends an answer.
    """
    return smoke.screens["chat"].count("> ") >= 2


CHECKS: tuple[Callable[[Smoke], bool], ...] = (trained, four_bits, only_lora, memory, adapter, merged, answered)


def smoke(values: Values) -> int:
    root = layout.bench_folder(values.build, "smoke")
    try:
        result = through(root / "run", values.speed, **({"QUANT": values.text("QUANT")} if values.quant else {}))
        record = result.run.read_record()
        failed = 0
        for check in CHECKS:
            passed = check(result)
            failed += not passed
            print(f"{'ok  ' if passed else 'FAIL'}  {tr(*check.__doc__.splitlines()[0].split(' | '))}")
        steps = sorted(line["seconds"] for line in read_curve(result.run.work_dir / CURVE)[9:])
        print(
            f"{record['machine']['gpu']}: SPEED={values.speed}, {record['steps']} steps, "
            f"{steps[len(steps) // 2]:.3f} s a step, {used(result.run) / 1e9:.1f} GB"
        )
    finally:
        shutil.rmtree(root, ignore_errors=True)
    return 1 if failed else 0


def main(arguments: list[str] | None = None) -> int:
    os.chdir(ROOT)
    return cli.run("smoke", __doc__, SETTINGS, smoke, sys.argv[1:] if arguments is None else arguments)
