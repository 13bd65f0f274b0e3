"""Checks of a submission's adapter: read by a parser of our own, never unpickled, held against config and base."""

from __future__ import annotations

import collections
import re

from lesson.config.summary import lookup
from lesson.core.messages import tr
from lesson.core.text import shorten
from lesson.submission.base_shape import base_shape
from lesson.submission.evidence import Evidence
from lesson.submission.registry import Failed, define_check
from lesson.submission.staff import StaffInputs

CONVERT = "make convert"
LORA_MATRIX = re.compile(
    r"(?:base_model\.model\.)?(?:model\.|transformer\.)*(?:(?:layers|h)\.(\d{1,4})\.)?((?:\w+\.)*)(\w+)\.lora_([AB])(?:\.default)?\.weight"
)


# What would make another function of the same matrices; XTuner writes none of it.
PLAIN = {
    **dict.fromkeys(("use_rslora", "use_dora", "rank_pattern", "alpha_pattern", "modules_to_save"), None),
    **dict.fromkeys(("layers_to_transform", "layer_replication", "fan_in_fan_out", "lora_bias"), None),
    **dict.fromkeys(("use_qalora", "use_bdlora", "alora_invocation_tokens", "target_parameters"), None),
    "trainable_token_indices": None,
    "bias": "none",
}


def more_than_lora(config: dict) -> list[str]:
    """The options of an adapter's config by which it is more than plain LoRA."""
    return [
        key
        for key, plain in PLAIN.items()
        if (config.get(key) or None) != plain and not (key == "bias" and key not in config)
    ]


@define_check("adapter", "adapter")
def adapter_format(evidence: Evidence, staff: StaffInputs) -> str:
    """the weights are whole safetensors | 权重是完整的 safetensors 文件"""
    found = evidence.tensors
    if not found:
        raise Failed(tr("no tensors", "没有张量"), CONVERT)
    return tr(f"{len(found)} tensors, {found[0].dtype}", f"{len(found)} 个张量，{found[0].dtype}")


@define_check("adapter", "adapter_config", "config", after=("config_only",))
def adapter_config(evidence: Evidence, staff: StaffInputs) -> str:
    """rank, alpha and dropout are the config's | 秩、alpha 与 dropout 与配置一致"""
    found = evidence.adapter_config
    wrong = []
    if found.get("peft_type") != "LORA":
        wrong.append(f"peft_type = {shorten(str(found.get('peft_type')))}")
    wrong += [f"{key} = {shorten(str(found[key]))}" for key in more_than_lora(found)]
    for key, name in (("r", "lora_r"), ("lora_alpha", "lora_alpha"), ("lora_dropout", "lora_dropout")):
        expected = lookup(evidence.config, name)[0]
        if isinstance(expected, int | float) and found.get(key) != expected:
            wrong.append(f"{key} = {shorten(str(found.get(key)))}, {tr('config', '配置')}: {expected}")
    if wrong:
        raise Failed(
            "; ".join(wrong), tr("convert the run that this config trained", "请转换该配置训练出的结果"), wrong
        )
    return f"r = {found.get('r')}, alpha = {found.get('lora_alpha')}"


@define_check("adapter", "adapter", "adapter_config", after=("adapter_format",))
def adapter_shapes(evidence: Evidence, staff: StaffInputs) -> str:
    """its matrices have the rank and fit the base, layer by layer | 各层矩阵的秩和形状与基座相符"""
    found = evidence.tensors
    config, base = evidence.adapter_config, base_shape(evidence, staff)
    rank, targets = config.get("r"), config.get("target_modules")
    # Some families have two linears of one name in a layer (Qwen's c_proj, in attention and in the feed-forward part).
    sizes: dict[str, list[tuple[int, int]]] = {}
    for name, inner, outer in base.linears:
        sizes.setdefault(name, []).append((inner, outer))
    if base.head:
        sizes[base.head] = [(base.hidden, base.vocabulary)]
    places, there = [], {}
    for tensor in found:
        match = LORA_MATRIX.fullmatch(tensor.name)
        if not match:
            places.append(tr(f"{shorten(tensor.name)}: not a LoRA matrix", f"{shorten(tensor.name)}：不是 LoRA 矩阵"))
            continue
        key = (int(match[1]) if match[1] else -1, match[3], match[2])
        there.setdefault(key, {})[match[4]] = tensor
        if match[3] not in sizes:
            places.append(tr(f"{match[3]}: not in the base", f"{match[3]}：基座没有"))
    for (_, module, _), sides in there.items():
        for side, tensor in sides.items() if module in sizes else ():
            options = [(rank, inner) if side == "A" else (outer, rank) for inner, outer in sizes[module]]
            if tensor.shape not in options:
                places.append(f"{shorten(tensor.name)}: {list(tensor.shape)} ≠ {list(options[0])}")
    modules = {module for _, module, _ in there}
    if isinstance(targets, list) and set(map(str, targets)) != modules:
        odd = sorted(set(map(str, targets)) ^ modules)
        places.append(f"target_modules: {shorten(', '.join(odd))}")
    count = collections.Counter((layer, module, side) for (layer, module, _), sides in there.items() for side in sides)
    wanted = {
        (layer, module, side): len(sizes[module])
        for module in modules & sizes.keys()
        for side in "AB"
        for layer in ([-1] if module == base.head else range(base.layers))
    }
    for key in sorted(wanted.keys() | {key for key in count if key[1] in sizes}):
        if count[key] != wanted.get(key, 0):
            places.append("layers.{}.{}.lora_{}".format(*key))
    if places:
        raise Failed(
            tr(f"{len(places)} do not fit, the first: {places[0]}", f"{len(places)} 处不符，第一处：{places[0]}"),
            CONVERT,
            places,
        )
    return tr(
        f"rank {rank}, {len(found)} matrices on {base.layers} layers",
        f"秩 {rank}，{base.layers} 层共 {len(found)} 个矩阵",
    )


@define_check("adapter", "adapter", after=("adapter_format",))
def adapter_finite(evidence: Evidence, staff: StaffInputs) -> str:
    """no NaN and no infinity in it | 没有 NaN 和无穷大"""
    bad = [t.name for t, finite, _ in evidence.tensor_values if not finite]
    if bad:
        raise Failed(f"NaN: {shorten(bad[0])}", tr("train again with a lower LR", "请降低 LR 重新训练"), bad)
    return tr("all finite", "全部有限")


@define_check("adapter", "adapter", after=("adapter_format",))
def adapter_trained(evidence: Evidence, staff: StaffInputs) -> str:
    """it was trained: LoRA B is not zero | 经过训练：LoRA B 不为零"""
    sides = [(t.name, zero) for t, _, zero in evidence.tensor_values if ".lora_B" in t.name]
    zero = [name for name, is_zero in sides if is_zero]
    if not sides:
        raise Failed(
            tr("no LoRA B in it", "没有 LoRA B"), tr("hand in the adapter after training", "请提交训练后的适配器")
        )
    if zero:
        what = tr(f"{len(zero)} of {len(sides)} are zero", f"{len(sides)} 个中有 {len(zero)} 个为零")
        raise Failed(what, tr("hand in the adapter after training", "请提交训练后的适配器"), zero)
    return tr(f"{len(sides)} matrices", f"{len(sides)} 个矩阵")
