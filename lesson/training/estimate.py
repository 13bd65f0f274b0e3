"""What a training will take: parameters, steps, memory by part, time; and whether it fits the GPU.

Read from the config, the data and the base model's config.json; nothing is loaded or run.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

from lesson.config.check import check_config_file
from lesson.config.context import ConfigContext
from lesson.config.parsed import ParsedConfig, Ref
from lesson.config.schedule import world_size
from lesson.config.summary import lookup
from lesson.core.files import read_json, readable
from lesson.core.layout import config_file
from lesson.core.machine import available_memory, first_gpu, has_nvidia_driver
from lesson.core.messages import UserError, tr
from lesson.core.settings import GPUS, Values
from lesson.model.base_record import recorded_base
from lesson.model.choice import chosen_base_config
from lesson.model.known_bases import BASE_SIZES, family_and_size
from lesson.model.shape import Shape, lora_parameters, shape_of
from lesson.training.inputs import values_of_config
from lesson.training.memory import (
    GB,
    KEEP_ALL,
    LIBRARIES,
    Workload,
    estimate_memory,
    needed_memory,
)

# Stock config, random weights of InternLM2.5-7B, one H100: 0.66 s for a step of 2048 tokens (0.60 s with ZeRO-2).
MEASURED_PARAMETERS, MEASURED_TOKENS_PER_SECOND = 7.74e9, 2048 / 0.66
MEASURED_FAST = 12518  # the same with SPEED=fast, make bench-gpu
# PROFILE=small, two cores of a Xeon with AMX, make bench-small: 376 tokens per second with 135M parameters, 223 with 630M.
# So a token takes 2.16 ms and 3.68 ps a parameter.
SECONDS_A_TOKEN, SECONDS_A_PARAMETER, TWO_CORES = 2.16e-3, 3.68e-12, "two cores of a Xeon with AMX"


def estimate_training(values: Values) -> dict:
    """The estimate as JSON: bytes, tokens, seconds. Raises UserError when the config, or its base's sizes, cannot be told."""
    values = values_of_config(values)
    processes = world_size(values)
    made = values.config or config_file(values.build, chosen_base_config(values))
    path = readable(made, tr("run make data config estimate", "请运行 make data config estimate"))
    context = ConfigContext(old_name="\0", world_size=processes)
    verdict = check_config_file(path, context)
    config, plan = verdict.config, verdict.schedule
    shape = _read_shape(config, values)
    targets = config.get("model.lora.target_modules")
    names = targets if isinstance(targets, list) else None
    r = _read_number(config, "lora_r", path, 1024)
    trained = lora_parameters(shape, r, names)
    sequence = lookup(config, "sequence_parallel_size")[0] or 1
    longest = _read_number(config, "max_length", path, 2**20)
    tokens = _read_number(config, "batch_size", path, 1024) * longest // sequence
    model = config.get("model.type")
    fast = isinstance(model, Ref) and model.name in ("recipe.fast.FastFinetune", "lesson.training.fast.FastFinetune")
    small = isinstance(model, Ref) and model.name == "lesson.training.small.SmallFinetune"
    small_on_gpu = small and bool(values.gpu or has_nvidia_driver())
    work = Workload(
        tokens,
        trained,
        quantized=lookup(config, "load_in_4bit")[0] is True and not small,  # which unpacks them
        half=_read_name(config, "optim_wrapper") == "AmpOptimWrapper",
        checkpointing=config.get("model.use_activation_checkpointing", True) is not False,
        zero=_zero_stage(values),
        world_size=processes,
        optimizer_bytes=2 if "8bit" in _read_name(config, "optimizer") else 8,
        fast=fast or small_on_gpu,
        small=small and not small_on_gpu,
        bytes_each=4 if _read_name(config, "torch_dtype") == "float32" else 2,
        kept=KEEP_ALL if small_on_gpu else config.get("model.kept_bytes", 0) if fast else 0,
        eight_bits=bool(config.get("model.base_dtype", "")),
        fill=config.get("model.gpu_memory", 0) * GB if fast else 0,
    )
    parts = estimate_memory(shape, work)
    device = _describe_device(values, parts["peak"], processes)
    if fast and device["fits"] is False:
        device["gpu_memory"] = _find_gpu_memory(shape, work, device["memory"])
    speed, measured = values.tokens_per_second, None
    if not speed and values.profile == "7b":
        speed, measured = estimate_throughput(shape, fast) * processes, "H100"
    elif not speed and small and device["name"] == "CPU" and work.bytes_each == 2:
        speed, measured = 1 / (SECONDS_A_TOKEN + SECONDS_A_PARAMETER * shape.parameters), TWO_CORES
    return {
        "config": str(path),
        "parameters": {"total": shape.parameters + trained, "trained": trained},
        "tokens_per_iteration": tokens * processes,
        "schedule": asdict(plan) if plan else None,
        "memory": {name: round(value) for name, value in parts.items()},
        "device": device,
        "tokens_per_second": speed,
        "measured_on": measured,
        "seconds": plan.tokens / speed if plan and speed else None,
    }


def estimate_throughput(shape: Shape, fast: bool = False) -> float:
    """Tokens per second on one H100, from the one measurement, for a model of this size: work grows with parameters."""
    return (MEASURED_FAST if fast else MEASURED_TOKENS_PER_SECOND) * MEASURED_PARAMETERS / shape.parameters


def _read_name(config: ParsedConfig, key: str) -> str:
    value = lookup(config, key)[0]
    return value.name.rpartition(".")[2] if isinstance(value, Ref) else str(value)


def _read_number(config: ParsedConfig, key: str, path: Path, most: int) -> int:
    value, line = lookup(config, key)
    if not isinstance(value, int) or not 1 <= value <= most:
        remedy = tr("run make check-config", "请运行 make check-config")
        raise UserError(
            f"{path}:{line}", tr(f"{key} is no number from 1 to {most}", f"{key} 不是 1 到 {most} 的数"), remedy
        )
    return value


def _zero_stage(values: Values) -> int:
    name = values.deepspeed_config
    return next((stage for stage in (1, 2, 3) if f"zero{stage}" in name), 0)


def _read_shape(config: ParsedConfig, values: Values) -> Shape:
    named = lookup(config, "model_path")[0]
    linked = not values.model or recorded_base(values.build).get("named") == values.model
    for folder in (values.model, named if linked else None):
        if isinstance(folder, str) and folder and (file := Path(folder) / "config.json").is_file():
            remedy = tr("set MODEL= to the folder of the base model", "请用 MODEL= 指定基座模型目录")
            content = read_json(file, remedy)
            return shape_of(content if isinstance(content, dict) else {}, file)
    # Before any download: a name on the hub, or the base that the stock config is for.
    name = values.model or ("" if values.profile == "tiny" else chosen_base_config(values))
    if (known := family_and_size(name)) in BASE_SIZES:
        return shape_of(BASE_SIZES[known], name)
    raise UserError(
        f"{named}/config.json",
        tr("no such file: the sizes of the base model are in it", "没有这个文件：基座模型的尺寸在其中"),
        tr(
            "run make model, or set MODEL= to the folder of the base model",
            "请运行 make model，或用 MODEL= 指定基座模型目录",
        ),
    )


def _describe_device(values: Values, peak: float, ranks: int) -> dict:
    """The GPU that is named or at hand, else this machine's memory: {name, memory, need, fits}, bytes."""
    if values.gpu:
        name, size = values.text("GPU"), values.gpu * GB
    elif values.profile == "tiny" or (values.profile == "small" and not has_nvidia_driver()):
        name, size = "CPU", available_memory()
    else:
        name, size = first_gpu()
    need = peak + LIBRARIES if name == "CPU" else needed_memory(peak, ranks)
    return {"name": name, "memory": size, "need": round(need), "fits": None if size is None else need <= size}


def _find_gpu_memory(shape: Shape, work: Workload, memory: float) -> int | None:
    """The GPU_MEMORY, in GB, with which a training of SPEED=fast keeps so little that `memory` bytes hold it; None where
    what it cannot do without is too much."""
    most = int(memory / GB)
    peak = estimate_memory(shape, replace(work, fill=most * GB))["peak"]
    return most if needed_memory(peak, work.world_size) <= memory else None


PARTS = {
    "weights": ("weights of the base's linear layers", "基座线性层权重"),
    "plain": ("embeddings, output layer, norms", "词嵌入、输出层、归一化"),
    "adapter": ("adapter", "适配器"),
    "optimizer": ("optimizer", "优化器"),
    "activations": ("activations", "激活值"),
    "logits": ("logits and loss", "logits 与损失"),
    "gradients": ("gradients", "梯度"),
    "peak": ("together, at the highest moment", "峰值合计"),
}


def lines_of(estimate: dict) -> list[str]:
    """What the user reads of what `estimate_training` gave."""
    count, trained = estimate["parameters"]["total"], estimate["parameters"]["trained"]
    return [
        f"{tr('parameters: ', '参数：')} {count:,} {tr('trained: ', '训练：')} {trained:,} ({trained / count:.2%})",
        f"{tr('tokens per iteration: ', '每次迭代词元数：')} {estimate['tokens_per_iteration']:,}",
        _schedule_line(estimate["schedule"]),
        *_memory_lines(estimate["memory"]),
        _device_line(estimate["device"]),
        _time_line(estimate["seconds"], estimate["tokens_per_second"], estimate["measured_on"]),
    ]


def _schedule_line(plan: dict | None) -> str:
    if plan is None:
        return tr("steps: not known without the data (make data)", "步数：没有数据无法得知（make data）")
    return tr(
        f"{plan['samples']} samples, {plan['iterations_per_epoch']} iterations an epoch, {plan['iterations']} in all, "
        f"{plan['optimizer_steps']} optimizer steps, {plan['tokens']:,} tokens",
        f"{plan['samples']} 个样本，每轮 {plan['iterations_per_epoch']} 次迭代，共 {plan['iterations']} 次，"
        f"{plan['optimizer_steps']} 个优化步，{plan['tokens']:,} 词元",
    )


def _memory_lines(memory: dict[str, float]) -> list[str]:
    unit, size = ("GB", GB) if memory["peak"] > GB else ("MB", 1e6)
    return [f"  {value / size:8.2f} {unit}  {tr(*PARTS[name])}" for name, value in memory.items()]


def _device_line(device: dict) -> str:
    need = f"{device['need'] / GB:.1f}"
    if device["fits"] is None:
        names = ", ".join(list(GPUS)[:4])
        return tr(
            f"needs {need} GB; no GPU found: name one with GPU= ({names}, …)",
            f"需要 {need} GB；未找到显卡：可用 GPU= 指定（{names}…）",
        )
    has = f"{device['memory'] / GB:.1f}"
    fits = tr("does NOT fit: lower MAX_LENGTH or BATCH", "放不下：请减小 MAX_LENGTH 或 BATCH")
    if device["fits"]:
        fits = tr("fits", "放得下")
    elif most := device.get("gpu_memory"):
        fits = tr(
            f"does NOT fit: with GPU_MEMORY={most} it keeps less and fits",
            f"放不下：设 GPU_MEMORY={most} 可少保留一些，即可放下",
        )
    return tr(
        f"{device['name']}: needs {need} of {has} GB: {fits}",
        f"{device['name']}：需要 {need} GB，共 {has} GB：{fits}",
    )


def _time_line(seconds: float | None, tokens_per_second: float | None, measured: str | None) -> str:
    if not seconds:
        return tr("time: set TOKENS_PER_SECOND=", "用时：请设 TOKENS_PER_SECOND=")
    minutes, speed = f"{seconds / 60:.1f}", f"{tokens_per_second:,.0f}"
    line = tr(f"time: {minutes} min at {speed} tokens per second", f"用时：{minutes} 分钟，按每秒 {speed} 词元")
    if measured is None:
        return line
    where = tr(TWO_CORES, "两个带 AMX 的 Xeon 核心") if measured == TWO_CORES else measured
    return line + tr(
        f" (measured on {where}; TOKENS_PER_SECOND= is yours)", f"（实测：{where}；可设 TOKENS_PER_SECOND=）"
    )
