"""InternLM2's weights under Llama's names, so that no code has to come with the model.

The two compute the same. InternLM2 keeps the three projections of attention in one matrix, `wqkv`: for each key head, the
rows of its query heads, then those of its key, then those of its value ("b q (h gs d)" in modeling_internlm2.py, with gs
the number of query heads that share a key head, plus 2). Llama has a matrix each.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from lesson.core.files import write_json
from lesson.core.messages import UserError, tr

# InternLM2's names of one layer → Llama's.
LAYER_NAMES = {
    "attention.wo": "self_attn.o_proj",
    "feed_forward.w1": "mlp.gate_proj",
    "feed_forward.w3": "mlp.up_proj",
    "feed_forward.w2": "mlp.down_proj",
    "attention_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}
OTHER_NAMES = {
    "model.tok_embeddings.weight": "model.embed_tokens.weight",
    "model.norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
LAYER = re.compile(r"model\.layers\.(\d+)\.(.+)\.(weight|bias)")
# Of InternLM2's config.json, what Llama's has under the same name.
SAME_KEYS = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
SAME_KEYS += ("num_key_value_heads", "hidden_act", "initializer_range", "max_position_embeddings", "rms_norm_eps")
SAME_KEYS += ("rope_theta", "tie_word_embeddings", "bos_token_id", "eos_token_id", "pad_token_id", "torch_dtype")
SAME_KEYS += ("use_cache",)
# Bytes of a file. In memory is at once what of it was cut apart (a ninth); the rest is read when it is written.
SHARD_SIZE = 1 << 30


def rewrite_config(config: Mapping[str, object]) -> dict[str, object]:
    """Llama's config.json for InternLM2's. Raises UserError for a rotary embedding that Llama does not have."""
    made = {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}
    made |= {key: config[key] for key in SAME_KEYS if key in config}
    bias = bool(config.get("bias", True))  # configuration_internlm2.py's default
    made |= {"attention_bias": bias, "mlp_bias": False}
    scaling = config.get("rope_scaling")
    if scaling:
        kind = scaling.get("rope_type", scaling.get("type"))
        if kind not in ("linear", "dynamic"):
            raise UserError(
                "config.json: rope_scaling",
                tr(f"type {kind!r} is not known", f"未知的类型 {kind!r}"),
                tr("linear and dynamic are InternLM2's", "InternLM2 只有 linear 和 dynamic"),
            )
        made["rope_scaling"] = {"rope_type": kind, "factor": scaling["factor"]}
    return made


def rewrite_tensor(name: str, tensor, heads: int, key_heads: int) -> Iterator[tuple[str, object]]:
    """(Llama's name, tensor) of one InternLM2 tensor: one pair, or three for `wqkv`.

    `tensor` is a torch.Tensor; wqkv.weight has the shape [(heads + 2 key_heads) · head size, hidden size], wqkv.bias
    lacks the second dimension. Raises UserError for a name that InternLM2 does not have, or a shape that cannot be cut.
    """
    if name in OTHER_NAMES:
        yield OTHER_NAMES[name], tensor
        return
    found = LAYER.fullmatch(name)
    layer, part, kind = found.groups() if found else ("", "", "")
    if part in LAYER_NAMES:
        yield f"model.layers.{layer}.{LAYER_NAMES[part]}.{kind}", tensor
        return
    group = heads // key_heads
    rows = tensor.shape[0]
    if part != "attention.wqkv" or heads % key_heads or rows % (key_heads * (group + 2)):
        raise UserError(
            name,
            tr(
                f"not a tensor of InternLM2: shape {tuple(tensor.shape)}",
                f"不是 InternLM2 的张量：{tuple(tensor.shape)}",
            ),
            tr("run make merge again", "请重新运行 make merge"),
        )
    size = rows // (key_heads * (group + 2))
    blocks = tensor.reshape(key_heads, group + 2, size, *tensor.shape[1:])
    for letter, block in (("q", blocks[:, :group]), ("k", blocks[:, group]), ("v", blocks[:, group + 1])):
        cut = block.reshape(-1, *tensor.shape[1:]).contiguous()
        yield f"model.layers.{layer}.self_attn.{letter}_proj.{kind}", cut


def rewrite_weights(
    tensors: Mapping[str, Callable[[], object]],
    config: Mapping[str, object],
    folder: Path,
    report: Callable[[int], object] = lambda written: None,
    shard_size: int = SHARD_SIZE,
) -> None:
    """Write Llama's safetensors into `folder`, in shards of about `shard_size` bytes, with their index where they are several.

    `tensors` are InternLM2's by name, read when called; `config` is its config.json; `report` gets the bytes written so far.
    """
    from safetensors.torch import save_file

    heads = int(config["num_attention_heads"])
    key_heads = int(config.get("num_key_value_heads") or heads)
    shards: list[list[str]] = []
    waiting: dict[str, object] = {}
    total = 0

    def write_shard() -> None:
        save_file(waiting, folder / f"shard-{len(shards)}", metadata={"format": "pt"})
        shards.append(list(waiting))
        waiting.clear()

    for name, read in tensors.items():
        for new, tensor in rewrite_tensor(name, read(), heads, key_heads):
            waiting[new] = tensor.contiguous()
            total += tensor.numel() * tensor.element_size()
        if sum(t.numel() * t.element_size() for t in waiting.values()) >= shard_size:
            write_shard()
            report(total)
    if waiting:
        write_shard()
        report(total)
    if len(shards) == 1:
        (folder / "shard-0").rename(folder / "model.safetensors")
        return
    places = {}
    for number, names in enumerate(shards):
        final = f"model-{number + 1:05}-of-{len(shards):05}.safetensors"
        (folder / f"shard-{number}").rename(folder / final)
        places |= dict.fromkeys(names, final)
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(places.items()))}
    write_json(folder / "model.safetensors.index.json", index)
