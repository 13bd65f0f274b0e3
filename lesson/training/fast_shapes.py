"""The families of bases that SPEED=fast computes: where a model has its parts, and how a layer packs queries, keys and values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from liger_kernel.ops.rope import LigerRopeFunction
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from lesson.core.messages import UserError, tr
from lesson.training.fast_base import EightBitWeight, Nf4Weight
from lesson.training.fast_layers import MLP, LinearResidual, LoraLinear, Norm, NormLinears, Seed
from lesson.training.memory import FastSizes


class Layer:
    """A decoder layer of InternLM2 with LoRA on its linear layers."""

    # Names of its modules: norm, attention, norm, MLP; within them q, k and v, and what follows; gate, up and down.
    parts = ("attention_norm", "attention", "ffn_norm", "feed_forward")
    projections = (("wqkv",), "wo")
    gated = ("w1", "w3", "w2")

    def __init__(self, module: nn.Module, base_dtype: torch.dtype | None = None) -> None:
        norm, attention, second_norm, mlp = (getattr(module, name) for name in self.parts)
        names, out = self.projections
        self.qkv = tuple(LoraLinear(getattr(attention, name), base_dtype) for name in names)
        self.out = LoraLinear(getattr(attention, out), base_dtype)
        self.mlp = tuple(LoraLinear(getattr(mlp, name), base_dtype) for name in self.gated)
        self.norms = Norm(norm), Norm(second_norm)
        self.groups, self.size = attention.num_key_value_groups, attention.head_dim
        self.linears = (*self.qkv, self.out, *self.mlp)  # each draws its dropout from a stream of its own

    @property
    def in_eight_bits(self) -> list[EightBitWeight]:
        """Its frozen weights that are kept in 8 bits."""
        return [linear.frozen for linear in self.linears if isinstance(linear.frozen, EightBitWeight)]

    def __call__(self, x: Tensor, rope: tuple[Tensor, Tensor], shape: torch.Size, seed: Seed, keep: bool) -> Tensor:
        """x (batch·length, hidden) → the same; `shape` is (batch, length)."""
        packed = NormLinears.apply(x, self.norms[0], self.qkv, seed, *parameters_of(self.qkv))
        q, k, v = (heads.transpose(1, 2) for heads in self.unpack(packed, shape))
        q, k = LigerRopeFunction.apply(q, k, *rope)
        attended = scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        attended = attended.transpose(1, 2).reshape(len(x), -1)
        first, second = seed.next(len(self.qkv)), seed.next(len(self.qkv) + 1)
        x = LinearResidual.apply(attended, x, *self.out.parameters, self.out, first)
        return MLP.apply(x, *parameters_of(self.mlp), self.norms[1], self.mlp, second, keep)

    def unpack(self, packed: tuple[Tensor, ...], shape: torch.Size) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each (batch, length, its heads, size), of what the projections gave, (n, out)."""
        # InternLM2 keeps each key-value head beside the query heads that share it.
        qkv = packed[0].view(*shape, -1, self.groups + 2, self.size)
        k, v = (qkv[..., i, :].contiguous() for i in (-2, -1))
        return qkv[..., : self.groups, :].reshape(*shape, -1, self.size), k, v


class LlamaLayer(Layer):
    """A decoder layer of Llama or Qwen2: projections of their own for queries, keys and values, biased or not."""

    parts = ("input_layernorm", "self_attn", "post_attention_layernorm", "mlp")
    projections = (("q_proj", "k_proj", "v_proj"), "o_proj")
    gated = ("gate_proj", "up_proj", "down_proj")

    def unpack(self, packed: tuple[Tensor, ...], shape: torch.Size) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = (heads.view(*shape, -1, self.size) for heads in packed)
        return q, k, v


LAYERS = {"InternLM2ForCausalLM": Layer, "LlamaForCausalLM": LlamaLayer, "Qwen2ForCausalLM": LlamaLayer}


@dataclass(frozen=True)
class Parts:
    """A decoder in parts: ids → `embed` → `layers`, with cos and sin of `rotary`(x, positions) → `norm` → `head`."""

    embed: nn.Module
    rotary: nn.Module
    layers: list[Layer]
    norm: Norm
    head: LoraLinear

    @property
    def linears(self) -> list[LoraLinear]:
        """All that have LoRA."""
        each = [*(linear for layer in self.layers for linear in layer.linears), self.head]
        return [linear for linear in each if linear.half]

    @property
    def sizes(self) -> FastSizes:
        """What decides the memory of a step."""
        first = self.layers[0]
        inner = first.mlp[2].inputs
        unpacks = any(isinstance(linear.frozen, Nf4Weight) for linear in first.mlp)
        return FastSizes(
            len(self.layers),
            first.out.outputs,
            sum(linear.outputs for linear in first.qkv),
            inner,
            self.head.outputs,
            turned=sum(weight.numbers.numel() for weight in first.in_eight_bits),
            unpacked=inner * first.out.outputs * 2 if unpacks else 0,
        )


def parameters_of(linears: Iterable[LoraLinear]) -> list[Tensor | None]:
    """A and B of each, as the operations of fast_layers.py take them."""
    return [parameter for linear in linears for parameter in linear.parameters]


def read_parts(model: nn.Module, base_dtype: torch.dtype | None = None) -> Parts:
    """The parts of a causal language model of transformers with PEFT's LoRA in it.

    base_dtype: for the frozen weights of layers that have LoRA (lesson/training/fast_base.py); the output layer stays as it
    is, as in torchao's float8 recipes: its products are few, and its rounding would go straight into the loss.
    Raises UserError, which names the module, where its arithmetic is not that of fast_layers.py.
    """
    kind = LAYERS.get(type(model).__name__)
    if kind is None:
        families = ", ".join(name.removesuffix("ForCausalLM") for name in LAYERS)
        raise _refusal(type(model).__name__, tr(f"only {families} are computed", f"只支持 {families}"))
    refuse_other_arithmetic(model, kind)
    decoder = model.model
    rotary = getattr(decoder, "rotary_emb", None) or decoder.layers[0].attention.rotary_emb
    return Parts(
        model.get_input_embeddings(),
        rotary,
        [kind(layer, base_dtype) for layer in decoder.layers],
        Norm(decoder.norm),
        LoraLinear(model.get_output_embeddings()),
    )


def refuse_other_arithmetic(model: nn.Module, kind: type[Layer]) -> None:
    """Raise UserError for the first module whose forward pass holds more than the layers here compute."""
    for name, module in model.named_modules():
        if isinstance(module, LoraLayer):
            if len(module.active_adapters) != 1 or module.lora_variant or any(module.lora_bias.values()):
                what = tr("only plain LoRA is computed, without DoRA or biases", "只支持普通 LoRA，不支持 DoRA 和偏置")
                raise _refusal(name, what)
            if not isinstance(module.base_layer, nn.Linear):
                raise _refusal(name, tr("LoRA is computed on linear layers only", "只支持线性层上的 LoRA"))
    _, attention_name, _, mlp_name = kind.parts
    queries, out = kind.projections
    for number, layer in enumerate(model.model.layers):
        where = f"model.layers.{number}"
        for name, known in (
            ("", kind.parts),
            (attention_name, (*queries, out, "rotary_emb")),
            (mlp_name, (*kind.gated, "act_fn")),
        ):
            for child, _ in layer.get_submodule(name).named_children():
                if child not in known:
                    full = ".".join(filter(None, (where, name, child)))
                    raise _refusal(
                        full, tr("there is no such part in Llama or InternLM2", "Llama 和 InternLM2 没有这一部分")
                    )
        if not isinstance(layer.get_submodule(mlp_name).act_fn, nn.SiLU):
            raise _refusal(f"{where}.{mlp_name}.act_fn", tr("only SiLU is computed", "只支持 SiLU"))
    for setting in ("use_sliding_window", "attention_dropout"):
        if getattr(model.config, setting, None):
            raise _refusal(f"config.json: {setting}", tr("attention is computed without it", "注意力的计算不支持它"))


def _refusal(where: str, what: str) -> UserError:
    return UserError(
        where, tr(f"with SPEED=fast {what}", f"SPEED=fast {what}"), tr("use SPEED=stock", "请用 SPEED=stock")
    )
