"""The rules of training: number formats, lengths, rates, steps. Each yields Violations."""

from __future__ import annotations

import math

from lesson.config.context import ConfigContext
from lesson.config.parsed import ParsedConfig, Ref, show_value
from lesson.config.rules import FEWEST_STEPS, Violation, Violations
from lesson.config.schedule import DataMeasures, Schedule, fitting_warmup, round_up, warmup_iterations
from lesson.config.summary import data_file, lookup
from lesson.core.messages import tr

ENOUGH_STEPS = 60  # of the optimizer: 63 turned the name of a real 0.5B


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
    if data and isinstance(longest, int) and data.longest > longest > 0:
        yield from _cut_rows(config, data, longest, line)
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


def _cut_rows(config: ParsedConfig, data: DataMeasures, longest: int, line: int) -> Violations:
    """Rows longer than max_length: cut, or without anything left to train on."""
    about = "" if data.exact else tr("about ", "约 ")
    where = f"{data_file(config)}:{data.longest_line}"
    (cut, lost), rows, whole = data.count_cut(longest), len(data.lengths), round_up(data.longest)
    advice = tr(f"MAX_LENGTH={whole} keeps them, or shorten them", f"MAX_LENGTH={whole} 可保留，或缩短这些行")
    found = tr(f"{longest} < {about}{data.longest} ({where})", f"{longest} < {about}{data.longest}（{where}）")
    if lost == rows:
        yield Violation("nothing-left", line, found, advice)
        return
    if lost:
        left_out = tr(f": {lost} of {rows} rows are left out", f"：{rows} 行中有 {lost} 行不参与训练")
        yield Violation("question-long", line, found + left_out, advice)
    if cut > lost:
        shortened = tr(f": {cut - lost} of {rows} rows are cut", f"：{rows} 行中有 {cut - lost} 行被截断")
        yield Violation("max-length", line, found + shortened, advice)


def check_steps(config: ParsedConfig, plan: Schedule | None) -> Violations:
    """Warm-up, the number of optimizer steps, and checkpoints before the end; `plan` where it is known."""
    ratio, line = lookup(config, "warmup_ratio")
    if isinstance(ratio, int | float) and ratio >= 0.5:
        yield Violation("warmup-long", line, f"warmup_ratio = {ratio:g}", _advise_warmup(plan))
    elif isinstance(ratio, int | float) and (ratio <= 0 or (plan and plan.warmup_iterations < 1)):
        steps = f", {plan.iterations} × {ratio:g} < 1" if plan else ""
        yield Violation("warmup-empty", line, f"warmup_ratio = {ratio:g}{steps}", _advise_warmup(plan))
    elif plan and plan.warmup_iterations == 1:
        found = f"warmup_ratio = {ratio:g}, {plan.iterations} iterations"
        yield Violation("warmup-one", line, found, _advise_warmup(plan))
    if plan is None:
        return
    if plan.optimizer_steps < FEWEST_STEPS:
        accumulate, line = lookup(config, "accumulative_counts")
        how = f"{plan.samples} samples, batch {plan.effective_batch}, {plan.optimizer_steps} steps"
        yield Violation(
            "few-steps",
            line,
            tr(how, f"{plan.samples} 个样本，批量 {plan.effective_batch}，{plan.optimizer_steps} 步"),
            _advise_steps(plan, accumulate),
        )
    every, line = lookup(config, "save_steps")
    if isinstance(every, int) and every > plan.iterations:
        half = max(plan.iterations // 2, 1)
        yield Violation("save-late", line, f"save_steps = {every} > {plan.iterations}", f"SAVE_STEPS={half}")


def _advise_warmup(plan: Schedule | None) -> str | None:
    """Values that give a warm-up of two iterations or more; None where the training's length is not known."""
    if plan is None:
        return None
    ratio, per_epoch = fitting_warmup(plan, 0.05), plan.iterations_per_epoch
    steps = warmup_iterations(ratio, plan.iterations // per_epoch, per_epoch)
    if steps >= 2:
        return tr(f"WARMUP={ratio:g} gives {steps} steps", f"WARMUP={ratio:g} 有 {steps} 步")
    epochs = math.ceil(40 / per_epoch)
    steps = warmup_iterations(0.05, epochs, per_epoch)
    return tr(f"EPOCHS={epochs} WARMUP=0.05 gives {steps} steps", f"EPOCHS={epochs} WARMUP=0.05 有 {steps} 步")


def _advise_steps(plan: Schedule, accumulate: int) -> str:
    """Values with which the optimizer moves often enough: fewer iterations summed, then more passes."""
    counts = [n for n in (16, 8, 4, 2, 1) if n < accumulate and math.ceil(plan.iterations / n) >= ENOUGH_STEPS]
    if counts:
        updates = math.ceil(plan.iterations / counts[0])
        return tr(f"ACCUM={counts[0]} gives {updates} updates", f"ACCUM={counts[0]} 有 {updates} 次更新")
    epochs = math.ceil(ENOUGH_STEPS / plan.iterations_per_epoch)
    if accumulate > 1 and plan.iterations >= FEWEST_STEPS:
        return tr(f"ACCUM=1 gives {plan.iterations} updates", f"ACCUM=1 有 {plan.iterations} 次更新")
    first = "ACCUM=1 " if accumulate > 1 else ""
    updates = epochs * plan.iterations_per_epoch
    return tr(
        f"{first}EPOCHS={epochs} gives {updates} updates, or bring more rows",
        f"{first}EPOCHS={epochs} 有 {updates} 次更新，或增加数据",
    )
