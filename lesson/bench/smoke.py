"""The whole lesson at 7B on this machine's GPU, with random weights, in a few minutes.

Every stage runs as make runs it, on a random base of the real shape (lesson/model/random_base.py), one epoch of the shipped
rows, 22 steps. What it learned means nothing; that it trains, in which memory, and what it leaves, is checked. Each
check's docstring is the line that is printed.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lesson.bench.stages import run_stage
from lesson.core import layout
from lesson.core.messages import title_of
from lesson.core.settings import Values
from lesson.model import random_base
from lesson.model.shape import lora_parameters, shape_of
from lesson.runs.curve import CURVE, read_curve
from lesson.runs.folder import Run, find_last_run
from lesson.training.memory import CUDA_CONTEXT

MEMORY = {("stock", "nf4"): 24e9, ("fast", "none"): 24e9, ("fast", "nf4"): 16e9}  # bytes, context included
LINEARS = 5 * 32  # of InternLM2's layers; the output layer is not quantised
STAGES = ("data", "model", "config", "train", "convert", "merge", "chat")
SHAPE = shape_of({"model_type": "internlm2", **random_base.SIZES}, "random base")
WARM_UP_STEPS = 8  # left out of the time of a step


@dataclass
class ShortLesson:
    """What a run through all stages left: its folder, and what each stage showed."""

    run: Run
    speed: str
    quantised: bool
    screens: dict[str, str]

    @property
    def head(self) -> dict:
        """The first line of the curve: what the engine found before training."""
        return read_curve(self.run.work_dir / CURVE)[0]


@dataclass(frozen=True)
class SmokeResult:
    """What was found: {title of a check: whether it holds}, and the figures of the training."""

    checks: dict[str, bool]
    gpu: str
    speed: str
    steps: int
    step_seconds: float
    memory: int  # bytes


def smoke_test(values: Values) -> SmokeResult:
    """Run and check the lesson in a folder below BUILD, all of which is removed after. Raises UserError."""
    root = layout.bench_folder(values.build, "smoke")
    try:
        variables = {"QUANT": values.text("QUANT")} if values.quant else {}
        lesson = run_short_lesson(root / "run", values.speed, **variables)
        checks = {title_of(check): check(lesson) for check in CHECKS}
        record = lesson.run.read_record()
        steps = sorted(line["seconds"] for line in read_curve(lesson.run.work_dir / CURVE)[1 + WARM_UP_STEPS :])
        median = steps[len(steps) // 2]
        return SmokeResult(
            checks, record["machine"]["gpu"], values.speed, record["steps"], median, used_memory(lesson.run)
        )
    finally:
        shutil.rmtree(root, ignore_errors=True)


def lines_of(result: SmokeResult) -> list[str]:
    """A line for each check, and one with the figures."""
    return [
        *(f"{'ok  ' if passed else 'FAIL'}  {title}" for title, passed in result.checks.items()),
        f"{result.gpu}: SPEED={result.speed}, {result.steps} steps, {result.step_seconds:.3f} s a step, "
        f"{result.memory / 1e9:.1f} GB",
    ]


def short_lesson_variables(build: Path, **variables: str) -> dict[str, str]:
    """The variables of a stage of the short lesson in `build`.

    One epoch, a short answer: the warm-up must have two steps, and random weights never end an answer.
    """
    small = {"MAX_LENGTH": "2048", "EPOCHS": "1", "WARMUP": "0.1", "SAVE_STEPS": "10", "ANSWER_TOKENS": "8"}
    return {**small, **variables, "PROFILE": "7b", "BUILD": str(build), "LANG": "C.UTF-8"}


def run_short_lesson(
    build: Path, speed: str = "stock", stages: Sequence[str] = STAGES, **variables: str
) -> ShortLesson:
    """The lesson's stages in the folder `build`, the last a chat of one question; each is up to date if it was done."""
    base = random_base.build_random_base(layout.random_base(build.parent))
    variables |= {"SPEED": speed}
    screens = {}
    for module in stages:
        more = {"MODEL": str(base)} if module == "model" else {}
        typed = "你是谁？\n" if module == "chat" else ""
        screens[module] = run_stage(module, short_lesson_variables(build, **variables, **more), stdin=typed).screen
    run = find_last_run(Values({"BUILD": str(build), "PROFILE": "7b"}))
    return ShortLesson(run, speed, speed == "stock" or variables.get("QUANT") == "nf4", screens)


def count_steps(build: Path) -> int:
    """The steps that a training in `build` has made so far."""
    return max((len(read_curve(path)) - 1 for path in build.glob(f"runs/*/work_dir/{CURVE}")), default=0)


def loss_fell(lesson: ShortLesson) -> bool:
    """at least 20 steps, every loss a number, the last lower than the first | 至少 20 步，损失都是数值且下降"""
    record = lesson.run.read_record()
    return record["steps"] >= 20 and record["loss"]["last"] < record["loss"]["first"]


def base_is_in_4_bits(lesson: ShortLesson) -> bool:
    """the base's linear layers are in 4 bits, or none is where QUANT=none | 基座线性层为 4 位（QUANT=none 时都不是）"""
    return lesson.head["layers_in_4_bits"] == (LINEARS if lesson.quantised else 0)


def only_lora_was_trained(lesson: ShortLesson) -> bool:
    """only LoRA weights were trained; the engine found every other weight's bits unchanged | 只训练了 LoRA，其余权重逐位不变"""
    return lesson.head["trained"] == lora_parameters(SHAPE, 64)


def memory_is_within_limit(lesson: ShortLesson) -> bool:
    """peak GPU memory, CUDA context included, within 24 GB (16 GB for fast with QUANT=nf4) | 显存峰值不超过 24 GB（fast 加 nf4 为 16 GB）"""
    return used_memory(lesson.run) <= MEMORY[lesson.speed, "nf4" if lesson.quantised else "none"]


def used_memory(run: Run) -> int:
    """The most GPU memory that training took, in bytes: what torch reserved, and the CUDA context."""
    return max(line["reserved"] for line in read_curve(run.work_dir / CURVE)[1:]) + int(CUDA_CONTEXT)


def adapter_is_whole(lesson: ShortLesson) -> bool:
    """the adapter is in safetensors and holds both matrices of every adapted layer | 适配器为 safetensors，包含每层的两个矩阵"""
    from safetensors import safe_open

    with safe_open(lesson.run.adapter / "adapter_model.safetensors", "pt") as file:
        return len(list(file.keys())) == 2 * (LINEARS + 1)


def merged_model_differs(lesson: ShortLesson) -> bool:
    """the merged model is there and differs from the base in every adapted layer | 合并后的模型在每个适配层都不同于基座"""
    found = re.search(r"(\d+) of (\d+) tensors differ", lesson.screens["merge"])
    return bool(found) and int(found[1]) == LINEARS + 1


def chat_answered(lesson: ShortLesson) -> bool:
    """the merged model answers a question and waits for the next | 合并后的模型回答一个问题，并等待下一个

    What it says may be nothing: weights that are all but random often choose the token that ends an answer.
    """
    return lesson.screens["chat"].count("> ") >= 2


CHECKS: tuple[Callable[[ShortLesson], bool], ...] = (
    loss_fell,
    base_is_in_4_bits,
    only_lora_was_trained,
    memory_is_within_limit,
    adapter_is_whole,
    merged_model_differs,
    chat_answered,
)
