"""Say before training what it will take: parameters, steps, memory by part, time; and whether it fits the GPU.

Read from the config's facts, the data and the base model's config.json; nothing is loaded or run. The formulas follow
what XTuner 0.2.0 does and stand at each function; `memory` says what they were compared with.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from lesson.config.check import check_config_file
from lesson.config.context import ConfigContext
from lesson.config.parsed import ParsedConfig, Ref
from lesson.config.schedule import world_size
from lesson.config.summary import lookup
from lesson.core import cli
from lesson.core.files import read_json, readable
from lesson.core.layout import config_file
from lesson.core.machine import available_memory, first_gpu
from lesson.core.messages import UserError, tr
from lesson.core.settings import GPUS, Values
from lesson.model.shape import Shape, lora_parameters, shape_of

SETTINGS_USED = [
    "PROFILE",
    "SPEED",
    "BUILD",
    "CONFIG",
    "BASE_CONFIG",
    "MODEL",
    "DEEPSPEED",
    "NPROC_PER_NODE",
    "NNODES",
    "GPU",
    "TOKENS_PER_SECOND",
    "FORMAT",
]
GB = 1e9
# Stock config, random weights of InternLM2.5-7B, one H100: 0.66 s for a step of 2048 tokens (0.60 s with ZeRO-2).
MEASURED_PARAMETERS, MEASURED_TOKENS_PER_SECOND = 7.74e9, 2048 / 0.66
MEASURED_FAST = 12518  # the same with SPEED=fast, make bench-gpu
CONTEXT = 0.7 * GB  # the CUDA context and cuBLAS' workspaces, which torch's own peak does not count
FRAGMENTS = 1.05  # the caching allocator holds a little more than is used
NF4 = 0.5 + 1 / 64 + 4 / (64 * 256)  # bytes of a weight, as `memory` says
LIBRARIES = 0.9 * GB  # resident memory of Python, torch and transformers on a CPU


@dataclass(frozen=True)
class Run:
    """What decides memory, besides the shape. `tokens` are those of one iteration on one GPU."""

    tokens: int
    lora: int  # trained parameters
    quantized: bool = True
    half: bool = True  # autocast to 16 bits
    checkpointing: bool = True
    zero: int = 0  # DeepSpeed's ZeRO stage; 0 without DeepSpeed
    world_size: int = 1
    optimizer_bytes: int = 8  # Adam's two moments in float32; 2 with 8 bits
    fast: bool = False  # lesson/training/fast.py computes it
    kept: int = 0  # bytes that it may keep of MLPs


def memory(shape: Shape, run: Run) -> dict[str, float]:
    """Bytes by part at the highest moment of an iteration on one GPU, and their sum as "peak".

    weights       NF4: half a byte, and a scale per 64 of them, itself in 8 bits with a float32 per 256 (QLoRA,
                  arXiv:2305.14314, section 3). Not quantized: as `plain`.
    plain         embeddings, output layer, norms: peft's prepare_model_for_kbit_training makes them float32;
                  DeepSpeed makes them 16 bits again.
    adapter, optimizer  LoRA in float32 and Adam's moments; DeepSpeed adds a 16-bit copy and shares the rest out.
    activations   with checkpointing the input of each layer; without, 167 bytes per token, layer and hidden unit
                  (from one measurement: stock config without checkpointing, 56.9 GB).
    logits        in the forward pass: as computed, in float32, shifted, and their log-softmax; with autocast also the
                  16-bit copy of the output layer that the backward pass needs (transformers' modelling files and
                  torch's cross_entropy).
    gradients     of LoRA; with ZeRO-2 two buckets of 5e8 elements (DeepSpeed's default, overlap_comm).
    The peak is at the loss or at the end of the backward pass, whichever is higher.

    Compared with torch's peak on one H100, InternLM2.5-7B, 2048 tokens, batch 1: stock 12.9 measured, 13.0 here; with
    ZeRO-2 12.0 measured, 12.1 here (GB).
    """
    if run.fast:
        return _fast_memory(shape, run)
    deepspeed = run.zero > 0
    share = run.world_size if deepspeed else 1
    full = 2 if deepspeed and run.half else 4
    parts = {
        "weights": shape.linear_parameters
        * (NF4 if run.quantized else full)
        / (run.world_size if run.zero == 3 else 1),
        "plain": shape.plain_parameters * full / (run.world_size if run.zero == 3 else 1),
        "adapter": run.lora * ((2 + 4 / share) if deepspeed and run.half else 4),
        "optimizer": run.lora * run.optimizer_bytes / share,
        "activations": run.tokens * shape.layers * shape.hidden * (full if run.checkpointing else 167),
    }
    cells = run.tokens * shape.vocabulary
    copy = shape.hidden * shape.vocabulary * 2 if run.half and not deepspeed else 0
    at_loss = {"logits": cells * (3 * 4 + (2 if run.half else 0)) + copy, "gradients": 0.0}
    if deepspeed:  # the buckets are taken before the backward pass starts, while the loss is still there
        at_end = {"logits": cells * 3 * 4.0, "gradients": 2 * 5e8 * full if run.zero >= 2 else run.lora * full}
    else:
        widest = max(max(i, o) for _, i, o in shape.linears)
        at_end = {"logits": 0.0, "gradients": run.lora * 4.0 + run.tokens * widest * full * 6}
    parts |= max(at_loss, at_end, key=lambda part: sum(part.values()))
    return parts | {"peak": sum(parts.values())}


def _fast_memory(shape: Shape, run: Run) -> dict[str, float]:
    """`memory` of lesson/training/fast.py: every frozen weight in 16 bits or NF4, LoRA in float32 with a 16-bit copy.

    activations   of each layer its input, queries, keys, values, attention output and the MLP's input; what is kept of
                  MLPs; and one MLP in full, which its backward pass needs.
    logits        16 bits, turned into their gradient in place.
    gradients     take the place of activations that are done with.

    One H100, InternLM2.5-7B, 2048 tokens: 21.5 measured, 21.7 here; with NF4 12.4 measured, 12.6 here (GB, torch's peak).
    """
    sizes = {name: (i, o) for name, i, o in shape.linears}
    inner, qkv = sizes["w1"][1], sizes["wqkv"][1]
    layer = run.tokens * 4 * inner
    kept = min(shape.layers, run.kept // layer) * layer
    widest = inner * shape.hidden * 2 if run.quantized else 0
    parts = {
        "weights": shape.linear_parameters * (NF4 if run.quantized else 2.0),
        "plain": shape.plain_parameters * 2.0,
        "adapter": run.lora * 6.0,
        "optimizer": run.lora * float(run.optimizer_bytes),
        "activations": run.tokens * 2 * (shape.layers * (3 * shape.hidden + qkv) + 5 * inner) + kept + widest,
        "logits": run.tokens * shape.vocabulary * 2.0,
        "gradients": 0.0,
    }
    return parts | {"peak": sum(parts.values())}


def throughput(shape: Shape, fast: bool = False) -> float:
    """Tokens per second on one H100, from the one measurement, for a model of this size: work grows with parameters."""
    return (MEASURED_FAST if fast else MEASURED_TOKENS_PER_SECOND) * MEASURED_PARAMETERS / shape.parameters


# --- the stage ---------------------------------------------------------------------------------------------------------


def estimate(values: Values) -> int:
    """Print the estimate. 0 when it fits or no device is known, 1 when it does not fit."""
    result = document(values, world_size(values))
    if values.format == "json":
        print(json.dumps(result, ensure_ascii=False, indent=2))
    else:
        _report(result)
    return 1 if result["device"]["fits"] is False else 0


def document(values: Values, world_size: int = 1) -> dict:
    """The estimate as JSON. Raises UserError when the config, or the sizes of its base model, cannot be told."""
    made = config_file(values.build, values.base_config)
    path = readable(values.config or made, tr("run make config", "请运行 make config"))
    context = ConfigContext(old_name="\0", world_size=world_size)
    verdict = check_config_file(path, context)
    config, plan = verdict.config, verdict.schedule
    shape = _shape(config, values)
    targets = config.get("model.lora.target_modules")
    names = targets if isinstance(targets, list) else None
    r = _number(config, "lora_r", path, 1024)
    trained = lora_parameters(shape, r, names)
    sequence = lookup(config, "sequence_parallel_size")[0] or 1
    longest = _number(config, "max_length", path, 2**20)
    tokens = _number(config, "batch_size", path, 1024) * longest // sequence
    model = config.get("model.type")
    fast = isinstance(model, Ref) and model.name in ("recipe.fast.FastFinetune", "lesson.training.fast.FastFinetune")
    run = Run(
        tokens,
        trained,
        quantized=lookup(config, "load_in_4bit")[0] is True,
        half=_name(config, "optim_wrapper") == "AmpOptimWrapper",
        checkpointing=config.get("model.use_activation_checkpointing", True) is not False,
        zero=_zero(values),
        world_size=world_size,
        optimizer_bytes=2 if "8bit" in _name(config, "optimizer") else 8,
        fast=fast,
        kept=config.get("model.kept_bytes", 0) if fast else 0,
    )
    parts = memory(shape, run)
    speed = values.tokens_per_second or (throughput(shape, fast) * world_size if values.profile == "7b" else None)
    return {
        "config": str(path),
        "parameters": {"total": shape.parameters + trained, "trained": trained},
        "tokens_per_iteration": tokens * world_size,
        "schedule": asdict(plan) if plan else None,
        "memory": {name: round(value) for name, value in parts.items()},
        "device": _device(values, parts["peak"]),
        "tokens_per_second": speed,
        "seconds": plan.tokens / speed if plan and speed else None,
    }


def _name(config: ParsedConfig, key: str) -> str:
    value = lookup(config, key)[0]
    return value.name.rpartition(".")[2] if isinstance(value, Ref) else str(value)


def _number(config: ParsedConfig, key: str, path: Path, most: int) -> int:
    value, line = lookup(config, key)
    if not isinstance(value, int) or not 1 <= value <= most:
        remedy = tr("run make check-config", "请运行 make check-config")
        raise UserError(
            f"{path}:{line}", tr(f"{key} is no number from 1 to {most}", f"{key} 不是 1 到 {most} 的数"), remedy
        )
    return value


def _zero(values: Values) -> int:
    name = values.deepspeed_config
    return next((stage for stage in (1, 2, 3) if f"zero{stage}" in name), 0)


def _shape(config: ParsedConfig, values: Values) -> Shape:
    named = lookup(config, "model_path")[0]
    for folder in (values.model, named):
        if isinstance(folder, str) and folder and (file := Path(folder) / "config.json").is_file():
            remedy = tr("set MODEL= to the folder of the base model", "请用 MODEL= 指定基座模型目录")
            content = read_json(file, remedy)
            return shape_of(content if isinstance(content, dict) else {}, file)
    raise UserError(
        f"{named}/config.json",
        tr("no such file: the sizes of the base model are in it", "没有这个文件：基座模型的尺寸在其中"),
        tr(
            "run make model, or set MODEL= to the folder of the base model",
            "请运行 make model，或用 MODEL= 指定基座模型目录",
        ),
    )


def _device(values: Values, peak: float) -> dict:
    """The GPU that is named or at hand, else this machine's memory: {name, memory, need, fits}, bytes."""
    if values.gpu:
        name, size = values.text("GPU"), values.gpu * GB
    elif values.profile == "tiny":
        name, size = "CPU", available_memory()
    else:
        name, size = first_gpu()
    need = peak + LIBRARIES if name == "CPU" else peak * FRAGMENTS + CONTEXT
    return {"name": name, "memory": size, "need": round(need), "fits": None if size is None else need <= size}


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


def _report(result: dict) -> None:
    total, trained = result["parameters"]["total"], result["parameters"]["trained"]
    print(tr("parameters: ", "参数："), f"{total:,}", tr("trained: ", "训练："), f"{trained:,} ({trained / total:.2%})")
    print(tr("tokens per iteration: ", "每次迭代词元数："), f"{result['tokens_per_iteration']:,}")
    if plan := result["schedule"]:
        print(
            tr(
                f"{plan['samples']} samples, {plan['iterations_per_epoch']} iterations an epoch, {plan['iterations']} in all, "
                f"{plan['optimizer_steps']} optimizer steps, {plan['tokens']:,} tokens",
                f"{plan['samples']} 个样本，每轮 {plan['iterations_per_epoch']} 次迭代，共 {plan['iterations']} 次，"
                f"{plan['optimizer_steps']} 个优化步，{plan['tokens']:,} 词元",
            )
        )
    else:
        print(tr("steps: not known without the data (make data)", "步数：没有数据无法得知（make data）"))
    unit, size = ("GB", GB) if result["memory"]["peak"] > GB else ("MB", 1e6)
    for name, value in result["memory"].items():
        print(f"  {value / size:8.2f} {unit}  {tr(*PARTS[name])}")
    _report_device(result["device"])
    if result["seconds"]:
        speed = f"{result['tokens_per_second']:,.0f}"
        said = f"{result['seconds'] / 60:.1f}"
        print(
            tr(
                f"time: {said} min at {speed} tokens per second (H100 measured, or TOKENS_PER_SECOND=)",
                f"用时：{said} 分钟，按每秒 {speed} 词元（H100 实测，或 TOKENS_PER_SECOND=）",
            )
        )
    else:
        print(tr("time: set TOKENS_PER_SECOND=", "用时：请设 TOKENS_PER_SECOND="))


def _report_device(device: dict) -> None:
    need = f"{device['need'] / GB:.1f}"
    if device["fits"] is None:
        names = ", ".join(list(GPUS)[:4])
        print(
            tr(
                f"needs {need} GB; no GPU found: name one with GPU= ({names}, …)",
                f"需要 {need} GB；未找到显卡：可用 GPU= 指定（{names}…）",
            )
        )
        return
    has, verdict = f"{device['memory'] / GB:.1f}", device["fits"]
    fits = (
        tr("fits", "放得下")
        if verdict
        else tr("does NOT fit: lower MAX_LENGTH or BATCH", "放不下：请减小 MAX_LENGTH 或 BATCH")
    )
    print(
        tr(
            f"{device['name']}: needs {need} of {has} GB: {fits}",
            f"{device['name']}：需要 {need} GB，共 {has} GB：{fits}",
        )
    )


def main(arguments: list[str] | None = None) -> int:
    return cli.run("estimate", __doc__, SETTINGS_USED, estimate, sys.argv[1:] if arguments is None else arguments)
