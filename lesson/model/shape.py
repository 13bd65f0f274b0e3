"""The sizes of a model as its config.json tells them: parameters, linear layers, and what LoRA adds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lesson.core.messages import UserError, tr


@dataclass(frozen=True)
class Shape:
    """The sizes of a decoder that decide its parameters; `linears` are (name, inputs, outputs) of one layer."""

    family: str
    hidden: int
    layers: int
    vocabulary: int
    linears: tuple[tuple[str, int, int], ...]
    head: str | None  # name of the output layer where LoRA adapts it too
    tied: bool
    other: int  # norms and biases

    @property
    def linear_parameters(self) -> int:
        return self.layers * sum(i * o for _, i, o in self.linears)

    @property
    def plain_parameters(self) -> int:
        """What quantization leaves alone: embeddings, output layer, norms, biases."""
        return self.vocabulary * self.hidden * (1 if self.tied else 2) + self.other

    @property
    def parameters(self) -> int:
        return self.linear_parameters + self.plain_parameters


def shape_of(config: dict, where: object) -> Shape:
    """The shape in a model's config.json. Raises UserError for a family that XTuner's supported configs do not have."""
    remedy = tr("set MODEL= to the folder of the base model", "请用 MODEL= 指定基座模型目录")
    family = config.get("model_type")
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
    sizes = [config.get(name) for name in names]
    if not all(isinstance(s, int) and 0 < s < 2**31 for s in sizes):
        raise UserError(where, tr("lacks sizes: ", "缺少尺寸：") + ", ".join(names), remedy)
    hidden, inner, layers, heads, vocabulary = sizes
    key_heads = config.get("num_key_value_heads") or heads
    width = config.get("head_dim") or hidden // heads
    query, key = heads * width, key_heads * width
    biases = 0
    match family:
        case "internlm2":
            linears = [("wqkv", hidden, query + 2 * key), ("wo", query, hidden)]
            linears += [("w1", hidden, inner), ("w3", hidden, inner), ("w2", inner, hidden)]
        case "internlm3" | "qwen2" | "llama":
            linears = [("q_proj", hidden, query), ("k_proj", hidden, key), ("v_proj", hidden, key)]
            linears += [("o_proj", query, hidden), ("gate_proj", hidden, inner), ("up_proj", hidden, inner)]
            linears += [("down_proj", inner, hidden)]
            biases = query + 2 * key if family == "qwen2" else 0
            if family == "llama" and config.get("attention_bias"):
                biases = query + 2 * key + hidden
        case "qwen":  # the first generation counts its two gates together
            linears = [("c_attn", hidden, 3 * hidden), ("c_proj", hidden, hidden)]
            linears += [("w1", hidden, inner // 2), ("w2", hidden, inner // 2), ("c_proj", inner // 2, hidden)]
            biases = 3 * hidden
        case _:
            raise UserError(where, tr(f"model_type {family!r} is not known", f"未知的 model_type {family!r}"), remedy)
    other = layers * (2 * hidden + biases) + hidden
    # XTuner's find_all_linear_names leaves `lm_head` out, and InternLM2 calls its output layer `output`.
    head = "output" if family == "internlm2" else None
    tied = bool(config.get("tie_word_embeddings"))
    return Shape(family, hidden, layers, vocabulary, tuple(linears), head, tied, other)


def lora_parameters(shape: Shape, r: int, targets: Iterable[str] | None = None) -> int:
    """r × (inputs + outputs) for each adapted linear: all of them unless `targets` names some."""
    wanted = None if targets is None else set(targets)
    layer = sum(i + o for name, i, o in shape.linears if wanted is None or name in wanted)
    head = shape.hidden + shape.vocabulary if shape.head and (wanted is None or shape.head in wanted) else 0
    return r * (shape.layers * layer + head)
