"""The rules of training: number formats, lengths, rates, steps. Each yields (rule, line, what was found)."""

from __future__ import annotations

from lesson.config.context import ConfigContext
from lesson.config.parsed import ParsedConfig, Ref, show_value
from lesson.config.rules import FEWEST_STEPS, Violations
from lesson.config.schedule import DataMeasures, Schedule
from lesson.config.summary import data_file, lookup
from lesson.core.messages import tr


def check_training(config: ParsedConfig, data: DataMeasures | None, context: ConfigContext) -> Violations:
    """Number formats, lengths, the learning rate, attention, sequence parallelism, LoRA and the seed."""

    def dtype(name: str) -> str | None:
        value = lookup(config, name)[0]
        return value.name.rpartition(".")[2] if isinstance(value, Ref) else value if isinstance(value, str) else None

    amp = dtype("optim_wrapper") == "AmpOptimWrapper"
    weights, autocast = dtype("torch_dtype"), dtype("amp_dtype")
    scale, scale_line = lookup(config, "loss_scale")
    if amp and "bfloat16" in (weights, autocast):
        if not (isinstance(scale, dict) and scale.get("enabled") is False):
            yield "loss-scale", scale_line, f"loss_scale={show_value('dynamic' if scale is None else scale)}"
        if weights and autocast and weights != autocast:
            yield "dtype-mixed", lookup(config, "amp_dtype")[1], f"torch_dtype={weights}, dtype={autocast}"
    longest, line = lookup(config, "max_length")
    if data and isinstance(longest, int) and data.longest > longest:
        about = "" if data.exact else tr("about ", "约 ")
        where = f"{data_file(config)}:{data.longest_line}"
        yield (
            "max-length",
            line,
            tr(f"{longest} < {about}{data.longest} ({where})", f"{longest} < {about}{data.longest}（{where}）"),
        )
    rate, line = lookup(config, "lr")
    r = lookup(config, "lora_r")[0]
    if isinstance(rate, int | float) and r is not None and not 1e-6 <= rate <= 2e-3:
        yield "lr", line, f"lr = {rate:g}"
    varlen, line = lookup(config, "use_varlen_attn")
    if varlen is True:
        batch, packed = lookup(config, "batch_size")[0], lookup(config, "pack_to_max_length")[0]
        if context.flash_attn is False or batch != 1 or packed is not True:
            had = tr("not installed", "未安装") if context.flash_attn is False else "?"
            yield (
                "varlen",
                line,
                f"use_varlen_attn = True, flash-attn {had}, batch_size = {show_value(batch)}, pack = {show_value(packed)}",
            )
    parallel, line = lookup(config, "sequence_parallel_size")
    if isinstance(parallel, int) and parallel > 1 and context.deepspeed == "none":
        yield "sequence-parallel", line, f"sequence_parallel_size = {parallel}"
    yield from _lora(config)
    seed, line = lookup(config, "seed")
    if seed is None:
        yield "seed", line, "randomness.seed = None"


def _lora(config: ParsedConfig) -> Violations:
    """LoRA's rank, scale (alpha / r) and dropout."""
    (r, line), (alpha, alpha_line), (dropout, dropout_line) = (
        lookup(config, name) for name in ("lora_r", "lora_alpha", "lora_dropout")
    )
    if isinstance(r, int) and not 1 <= r <= 1024:
        yield "lora", line, f"r = {r}"
    elif isinstance(r, int) and isinstance(alpha, int | float) and not 1 / 16 <= alpha / r <= 8:
        yield "lora", alpha_line, f"lora_alpha / r = {alpha:g} / {r}"
    if isinstance(dropout, int | float) and not 0 <= dropout < 0.5:
        yield "lora", dropout_line, f"lora_dropout = {dropout:g}"


def check_steps(config: ParsedConfig, plan: Schedule | None) -> Violations:
    """Warm-up, the number of optimizer steps, and checkpoints before the end; `plan` where it is known."""
    ratio, line = lookup(config, "warmup_ratio")
    if isinstance(ratio, int | float) and ratio >= 0.5:
        yield "warmup-long", line, f"warmup_ratio = {ratio:g}"
    elif isinstance(ratio, int | float) and (ratio <= 0 or (plan and plan.warmup_iterations < 1)):
        steps = f", {plan.iterations} × {ratio:g} < 1" if plan else ""
        yield "warmup-empty", line, f"warmup_ratio = {ratio:g}{steps}"
    elif plan and plan.warmup_iterations == 1:
        yield "warmup-one", line, f"warmup_ratio = {ratio:g}, {plan.iterations} iterations"
    if plan is None:
        return
    if plan.optimizer_steps < FEWEST_STEPS:
        line = lookup(config, "accumulative_counts")[1]
        how = f"{plan.samples} samples, batch {plan.effective_batch}, {plan.optimizer_steps} steps"
        yield (
            "few-steps",
            line,
            tr(how, f"{plan.samples} 个样本，批量 {plan.effective_batch}，{plan.optimizer_steps} 步"),
        )
    every, line = lookup(config, "save_steps")
    if isinstance(every, int) and every > plan.iterations:
        yield "save-late", line, f"save_steps = {every} > {plan.iterations}"
