"""PROFILE=small: XTuner's SupervisedFinetune with LoRA on a frozen base of 0.1 to 2B, at the pace of a laptop's CPU.

The config names it (`model.type = SmallFinetune`), so a config still says all that is trained. Data, sampler, loop,
optimizer, hooks, checkpoints and the adapter's names stay XTuner's and PEFT's; only how one step is computed differs
(lesson/training/passes.py). It runs the base's own code, of any architecture whose parts are called as in Llama, Qwen2
or InternLM2, on a CPU or a GPU, in the config's number format; LoRA's weights are float32. On a CUDA GPU, where launching
kernels one by one takes longer than computing them, the step is that of lesson/training/fast.py where it knows the base.
"""

from __future__ import annotations

import functools
import sys
from importlib.util import find_spec
from types import MethodType

import torch
from mmengine.logging import print_log
from peft import get_peft_model
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode
from xtuner.model import SupervisedFinetune
from xtuner.model.utils import find_all_linear_names

from lesson.core.messages import UserError, tr
from lesson.training import passes
from lesson.training.memory import KEEP_ALL

IGNORED = -100  # the label of a position that is not trained
MLPS = (("gate_proj", "up_proj", "down_proj"), ("w1", "w3", "w2"))  # what Llama and InternLM2 call an MLP's layers


def low_rank(layer: nn.Module) -> tuple[Tensor | None, Tensor | None, float, float]:
    """A (r, in), B (out, r), the scale and the share of dropout of a LoRA layer with one adapter; no A and B without."""
    if not isinstance(layer, LoraLayer):
        return None, None, 1.0, 0.0
    (name,) = layer.active_adapters
    p = getattr(layer.lora_dropout[name], "p", 0.0) if layer.training else 0.0
    return layer.lora_A[name].weight, layer.lora_B[name].weight, layer.scaling[name], p


def make_member(layer: LoraLayer) -> passes.Member:
    a, b, scale, _ = low_rank(layer)
    return passes.Member(layer.base_layer.weight, layer.base_layer.bias, a, b, scale)


class SharedInput:
    """Layers that a base calls one after the other with the same input: the first call computes all of them."""

    def __init__(self, layers: list[LoraLayer]) -> None:
        self.group = passes.LoraGroup([make_member(layer) for layer in layers])
        self.x, self.outputs = None, {}

    def forward(self, layer: LoraLayer, at: int, x: Tensor) -> Tensor:
        """The output of the layer with the number `at`."""
        if self.x is not x or at not in self.outputs:
            outputs = passes.LoraLinears.apply(x, self.group, low_rank(layer)[3], *self.group.parameters)
            self.x, self.outputs = x, dict(enumerate(outputs))
        y = self.outputs.pop(at)
        if not self.outputs:
            self.x = None
        return y


def rms_norm(module: nn.Module, x: Tensor) -> Tensor:
    return passes.RmsNorm.apply(x, module.weight, module.variance_epsilon)


def patch_modules(model: nn.Module) -> None:
    """Give every LoRA layer, RMSNorm and gated MLP of `model` its forward from lesson/training/passes.py."""
    done: set[nn.Module] = set()
    for module in model.modules():
        if type(module).__name__.endswith("RMSNorm") and hasattr(module, "variance_epsilon"):
            module.forward = MethodType(rms_norm, module)
        for names in MLPS:
            layers = [getattr(module, name, None) for name in names]
            gated = isinstance(getattr(module, "act_fn", None), nn.SiLU)
            if gated and all(map(is_adapted, layers)) and are_alike(layers[:2]):
                module.forward = _mlp(*layers)
                done.update(layers)
        layers = [getattr(module, name, None) for name in ("q_proj", "k_proj", "v_proj")]
        if all(map(is_adapted, layers)) and are_alike(layers):
            _share(layers)
            done.update(layers)
    for module in model.modules():
        if is_adapted(module) and module not in done:
            _share([module])


def is_adapted(module: nn.Module | None) -> bool:
    """Whether it is a linear layer with LoRA."""
    return isinstance(module, LoraLayer) and isinstance(getattr(module, "base_layer", None), nn.Linear)


def release_files(model: nn.Module) -> None:
    """Copy the frozen weights that no passes.LoraGroup will copy: transformers maps weights from the base's files, and a
    file counts as memory as long as one of its weights is used."""
    copied = {module.base_layer.weight for module in model.modules() if is_adapted(module)}
    for parameter in model.parameters():
        if not parameter.requires_grad and parameter not in copied:
            parameter.data = parameter.data.clone()


def are_alike(layers: list[LoraLayer]) -> bool:
    """Whether they can be one passes.LoraGroup: rank, scale, dropout, and whether there is a bias."""
    adapters = [low_rank(layer) for layer in layers]
    found = {
        (len(a), s, p, layer.base_layer.bias is None) for (a, _, s, p), layer in zip(adapters, layers, strict=True)
    }
    return len(found) == 1


def _refuse_base_dtype(base_dtype: str, why: str) -> UserError:
    return UserError(f"BASE_DTYPE={base_dtype}", why, tr("leave BASE_DTYPE out", "请去掉 BASE_DTYPE"))


def _share(layers: list[LoraLayer]) -> None:
    shared = SharedInput(layers)
    for at, layer in enumerate(layers):
        layer.forward = functools.partial(shared.forward, layer, at)


def _mlp(gate: LoraLayer, up: LoraLayer, down: LoraLayer):
    both, second = passes.LoraGroup([make_member(gate), make_member(up)]), passes.LoraGroup([make_member(down)])
    parameters = [*both.parameters, *second.parameters]
    return lambda x: passes.GatedMlp.apply(x, both, second, low_rank(down)[3], *parameters)


class CpuAttention(TorchFunctionMode):
    """While it is entered, causal attention without mask and dropout on a CPU is passes.CausalAttention.

    In transformers' own code keys and values are not repeated for the heads of the queries, and rotary positions are
    passes.Rotary. InternLM2's code, which comes with the base, stays as it is.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.layers = [
            module
            for module in model.modules()
            if type(module).__module__.startswith("transformers.models.") and hasattr(module, "num_key_value_groups")
        ]
        self.groups = [layer.num_key_value_groups for layer in self.layers]
        sources = [sys.modules[name] for name in {type(layer).__module__ for layer in self.layers}]
        self.rotary = [(source, source.apply_rotary_pos_emb) for source in sources]

    def __enter__(self):
        for layer in self.layers:
            layer.num_key_value_groups = 1
        for module, _ in self.rotary:
            module.apply_rotary_pos_emb = passes.rotate
        return super().__enter__()

    def __exit__(self, *arguments):
        for layer, groups in zip(self.layers, self.groups, strict=True):
            layer.num_key_value_groups = groups
        for module, original in self.rotary:
            module.apply_rotary_pos_emb = original
        return super().__exit__(*arguments)

    def __torch_function__(self, function, types, arguments=(), keywords=None):
        keywords = keywords or {}
        if function is not scaled_dot_product_attention:
            return function(*arguments, **keywords)
        names = ("query", "key", "value")
        q, k, v = (arguments[i] if i < len(arguments) else keywords[n] for i, n in enumerate(names))
        rest = {name: value for name, value in keywords.items() if name not in names}
        if self.plain(q, k, v, *arguments[3:], **rest):
            return passes.CausalAttention.apply(q, k, v, keywords.get("scale") or q.shape[-1] ** -0.5)
        k, v = (passes.repeat_heads(x, q.shape[1]) for x in (k, v))
        return function(q, k, v, *arguments[3:], **rest)

    @staticmethod
    def plain(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False) -> bool:
        """Whether passes.CausalAttention computes this."""
        same = key.shape == value.shape and query.shape[2:] == key.shape[2:]
        return query.device.type == "cpu" and is_causal and attn_mask is None and dropout_p == 0 and same


class SmallFinetune(SupervisedFinetune):
    """SupervisedFinetune with LoRA on a frozen base, on a CPU or a GPU. All activations are kept.

    fast_pass: on a CUDA GPU, from the first step on, the FastPass that computes it; None where it does not know the base.
    base_dtype: "fp8" or "int8" there, as in lesson/training/fast.py; "" for the base's own.

    Raises NotImplementedError for `use_varlen_attn`, and UserError where nothing multiplies `base_dtype`.
    """

    FLAT_GRADIENTS = True  # on several ranks: lesson/training/data_parallel.py

    def __init__(self, *arguments, base_dtype: str = "", **keywords) -> None:
        self.base_dtype = base_dtype
        if base_dtype and not torch.cuda.is_available():
            raise _refuse_base_dtype(base_dtype, tr("needs a CUDA GPU", "需要 CUDA 显卡"))
        # Gradients below 1e-38 cost a processor ten times the time of others, and count for nothing. Before the first
        # parallel loop, for its threads take the flag over from this one.
        torch.set_flush_denormal(True)
        super().__init__(*arguments, use_activation_checkpointing=False, **keywords)
        if self.use_varlen_attn:
            raise NotImplementedError("PROFILE=small computes attention over the whole pack, as the lesson does")

    def build_llm_from_cfg(self, llm_cfg, *arguments) -> nn.Module:
        llm_cfg.attn_implementation = "sdpa"
        model = super().build_llm_from_cfg(llm_cfg, *arguments)
        # 4 bits (QUANT=nf4) are unpacked once: the same numbers, for four times the memory.
        return model.dequantize() if getattr(model, "is_quantized", False) else model

    def _prepare_for_lora(self, peft_model=None, use_activation_checkpointing=False) -> None:
        # PEFT's prepare_model_for_kbit_training would copy every bfloat16 weight to float32.
        self.llm.requires_grad_(False)
        if self.lora.target_modules is None:
            self.lora.target_modules = find_all_linear_names(self.llm)
        self.llm = get_peft_model(self.llm, self.lora)
        patch_modules(self.llm)
        release_files(self.llm)

    @functools.cached_property
    def fast_pass(self):
        # Not before the first step: the weights come to the GPU after the model was made.
        if find_spec("liger_kernel") is None or find_spec("triton") is None:
            if self.base_dtype:
                raise _refuse_base_dtype(
                    self.base_dtype, tr("needs Triton and liger-kernel", "需要 Triton 和 liger-kernel")
                )
            return None
        from lesson.training.fast import FastPass, find_base_dtype

        try:
            return FastPass(self.llm, KEEP_ALL, find_base_dtype(self.base_dtype))
        except UserError as error:
            if self.base_dtype:
                raise
            print_log(f"computed by the base's own code: {error.where}: {error.what}", "current")
            return None

    def prepare_weights(self) -> None:
        """Bring the frozen base to `base_dtype`, now that it is on the GPU: before its weights are counted, since they are
        compared with those at the end. Raises UserError where this GPU or this base cannot be computed so."""
        if self.base_dtype:
            _ = self.fast_pass

    def compute_loss(self, data: dict, data_samples=None) -> dict[str, Tensor]:
        """{"loss": scalar} of `data`: input_ids, labels, position_ids (batch, length).

        Padding comes behind the tokens of a row and has no label, so a causal pass needs no mask.
        """
        if data["input_ids"].is_cuda and self.fast_pass:
            return self.fast_pass.compute_loss(data)
        model = self.llm.get_base_model()
        targets = torch.nn.functional.pad(data["labels"][:, 1:], (0, 1), value=IGNORED).reshape(-1)
        chosen = (targets != IGNORED).nonzero().squeeze(1)
        with CpuAttention(model):
            output = model.base_model(
                input_ids=data["input_ids"], position_ids=data.get("position_ids"), use_cache=False
            )
        hidden = output[0].flatten(0, 1)[chosen]
        head = model.get_output_embeddings()
        weight = getattr(head, "base_layer", head).weight
        return {"loss": passes.HeadLoss.apply(hidden, weight, targets[chosen], *low_rank(head))}
