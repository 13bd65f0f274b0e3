"""The operations of SPEED=fast with their gradients written out: dropout, LoRA layers, norms, the MLP and the loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from liger_kernel.ops.cross_entropy import cross_entropy_forward
from liger_kernel.ops.rms_norm import rms_norm_backward, rms_norm_forward
from liger_kernel.ops.swiglu import swiglu_backward, swiglu_forward
from peft.tuners.lora import LoraLayer
from torch import Tensor
from torch.autograd import Function

from lesson.training.fast_base import keep_weight

IGNORED = -100  # the label of a position that is not trained


@triton.jit(do_not_specialize=["stream"])
def _dropout_kernel(x, out, size, seed, stream, p, scale, ADD: tl.constexpr, BLOCK: tl.constexpr):
    start = tl.program_id(0).to(tl.int64) * BLOCK * 4
    lane = tl.arange(0, BLOCK)
    # One Philox call gives four numbers, for a block of each quarter. Seven rounds pass the statistical tests (Salmon
    # et al., Parallel random numbers: as easy as 1, 2, 3, SC 2011); ten are the default.
    draws = tl.rand4x(tl.load(seed) + stream, tl.program_id(0) * BLOCK + lane, n_rounds=7)
    for quarter in tl.static_range(4):
        at = start + quarter * BLOCK + lane
        inside = at < size
        value = tl.load(x + at, mask=inside).to(tl.float32)
        value = tl.where(draws[quarter] >= p, value * scale, 0.0)
        if ADD:
            value += tl.load(out + at, mask=inside).to(tl.float32)
        tl.store(out + at, value.to(out.dtype.element_ty), mask=inside)


class Seed(NamedTuple):
    """Where a layer draws its dropout from: a step's number in GPU memory (a captured graph reads it anew at each
    replay), and the layer's own stream."""

    step: Tensor  # int64, shape (1,)
    stream: int = 0

    def next(self, count: int = 1) -> Seed:
        return Seed(self.step, self.stream + count)


def dropout(x: Tensor, seed: Seed, p: float, onto: Tensor | None = None) -> Tensor:
    """Inverted dropout of a contiguous CUDA tensor: the same seed drops the same places. `onto` += instead, if given.

    Its own gradient is itself, with the same seed. Returns `x` untouched when `p` is 0 and `onto` is None.
    """
    if p == 0:
        return x if onto is None else onto.add_(x)
    out = torch.empty_like(x) if onto is None else onto
    block = 1024
    grid = (triton.cdiv(x.numel(), 4 * block),)
    _dropout_kernel[grid](x, out, x.numel(), seed.step, seed.stream, p, 1 / (1 - p), onto is not None, block)
    return out


def _multiply_in_float32(a: Tensor, b: Tensor) -> Tensor:
    """a b in float32: the gradients of the float32 LoRA weights are not rounded to bfloat16 on the way."""
    return a @ b if a.dtype == torch.float32 else torch.mm(a, b, out_dtype=torch.float32)


class LoraLinear:
    """PEFT's LoRA layer around a frozen linear layer, as arithmetic: y = x Wᵀ + b + s·dropout(x) Aᵀ Bᵀ.

    Shapes: x (n, in), W (out, in), b (out,) or None, A (r, in), B (out, r), y (n, out). x, W, b and y are bfloat16, and W
    may be kept in fewer bits (lesson/training/fast_base.py); A and B are float32. Of a frozen layer without LoRA, such as
    Llama's lm_head, A and B are None, and W stays as it is.
    """

    parameters: tuple[Tensor | None, Tensor | None] = (None, None)
    half: tuple[Tensor, ...] | list[Tensor] = ()

    def __init__(self, layer: LoraLayer | torch.nn.Linear, base_dtype: torch.dtype | None = None) -> None:
        self.inputs, self.outputs = layer.in_features, layer.out_features
        self.frozen, self.bias = keep_weight(layer, base_dtype), getattr(layer, "base_layer", layer).bias
        self.p = 0.0
        if isinstance(layer, LoraLayer):
            (name,) = layer.active_adapters
            self.parameters = (layer.lora_A[name].weight, layer.lora_B[name].weight)
            self.half = [p.detach().to(self.frozen.dtype) for p in self.parameters]  # as they are multiplied
            self.scale = layer.scaling[name]
            self.p = getattr(layer.lora_dropout[name], "p", 0.0)

    def down(self, x: Tensor, seed: Seed) -> Tensor | None:
        """s·dropout(x) Aᵀ, (n, r): small, kept for the backward pass. None without LoRA."""
        if not self.half:
            return None
        return (dropout(x, seed, self.p) @ self.half[0].t()).mul_(self.scale)

    def up(self, x: Tensor | tuple, low: Tensor | None, residual: Tensor | None = None) -> Tensor:
        """y (n, out) of `low` = down(x) and x, which `prepare` may have seen; plus `residual` (n, out) if given."""
        onto = residual
        if self.bias is not None:
            onto = self.bias if residual is None else residual + self.bias
        y = self.frozen.multiply(x, onto)
        return y if low is None else y.addmm_(low, self.half[1].t())

    def backward(
        self, dy: Tensor, x: Tensor, low: Tensor | None, seed: Seed, onto: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Gradients by x (plus `onto`, if given), A and B from dy (n, out)."""
        if low is None:
            return self.frozen.multiply_back(dy, onto), None, None
        db = _multiply_in_float32(dy.t(), low)
        dlow = (dy @ self.half[1]).mul_(self.scale)
        da = _multiply_in_float32(dlow.t(), dropout(x, seed, self.p))
        dx = self.frozen.multiply_back(dy, onto)
        return dropout(dlow @ self.half[0], seed, self.p, onto=dx), da, db


def prepare(linears: Sequence[LoraLinear], x: Tensor) -> Tensor | tuple:
    """x (n, in) as every one of `linears` multiplies it: brought to 8 bits once where all of them want that."""
    same = len({type(linear.frozen) for linear in linears}) == 1
    return linears[0].frozen.prepare(x) if same else x


class Norm:
    """The RMSNorm of Llama and InternLM2 with a frozen weight: x (n, hidden) → the same shape."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.module = module

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The normed x, and 1/rms of each row (n,) for the backward pass."""
        y, _, rstd, *self.launch = rms_norm_forward(
            x, self.module.weight, self.module.variance_epsilon, 0.0, "llama", None
        )
        return y, rstd

    def backward(self, dy: Tensor, x: Tensor, rstd: Tensor) -> Tensor:
        """The gradient by x; `dy` is overwritten."""
        block, warps, mode = self.launch
        return rms_norm_backward(dy, x, self.module.weight, rstd, 0.0, mode, block, warps, True, None, needs_dw=False)[
            0
        ]


class NormLinears(Function):
    """linear(norm(x)) of each linear layer, one tensor each; of its inputs, only x and a number a row are kept.

    `weights` are A and B of each layer in turn.
    """

    @staticmethod
    def forward(ctx, x, norm: Norm, linears: tuple[LoraLinear, ...], seed: Seed, *weights):
        normed, rstd = norm.forward(x)
        lows = [linear.down(normed, seed.next(number)) for number, linear in enumerate(linears)]
        ctx.save_for_backward(x, rstd, *lows)
        ctx.rest = norm, linears, seed
        prepared = prepare(linears, normed)
        return tuple(linear.up(prepared, low) for linear, low in zip(linears, lows, strict=True))

    @staticmethod
    def backward(ctx, *dys):
        x, rstd, *lows = ctx.saved_tensors
        norm, linears, seed = ctx.rest
        normed, _ = norm.forward(x)
        dnormed, gradients = None, []
        for number, (linear, dy, low) in enumerate(zip(linears, dys, lows, strict=True)):
            dnormed, *of_lora = linear.backward(dy, normed, low, seed.next(number), onto=dnormed)
            gradients += of_lora
        return norm.backward(dnormed, x, rstd), None, None, None, *gradients


class LinearResidual(Function):
    """residual + linear(x)."""

    @staticmethod
    def forward(ctx, x, residual, a, b, linear: LoraLinear, seed: Seed):
        low = linear.down(x, seed)
        ctx.save_for_backward(x, low)
        ctx.rest = linear, seed
        return linear.up(x, low, residual)

    @staticmethod
    def backward(ctx, dy):
        x, low = ctx.saved_tensors
        linear, seed = ctx.rest
        dx, da, db = linear.backward(dy, x, low, seed)
        return dx, dy, da, db, None, None


class MLP(Function):
    """x + down(silu(gate(norm(x))) · up(norm(x))). Gate and up are kept for the backward pass only when `keep` is set."""

    @staticmethod
    def forward(ctx, x, ag, bg, au, bu, ad, bd, norm: Norm, linears: tuple[LoraLinear, ...], seed: Seed, keep: bool):
        gate, up, down = linears
        normed, rstd = norm.forward(x)
        low_gate, low_up = gate.down(normed, seed), up.down(normed, seed.next())
        prepared = prepare((gate, up), normed)
        g, u = gate.up(prepared, low_gate), up.up(prepared, low_up)
        active = swiglu_forward(g, u)[2]
        low_down = down.down(active, seed.next(2))
        ctx.save_for_backward(x, rstd, low_gate, low_up, low_down, *((g, u) if keep else ()))
        ctx.rest = norm, linears, seed
        return down.up(active, low_down, residual=x)

    @staticmethod
    def backward(ctx, dy):
        x, rstd, low_gate, low_up, low_down, *kept = ctx.saved_tensors
        norm, (gate, up, down), seed = ctx.rest
        normed, _ = norm.forward(x)
        if kept:
            g, u = kept
        else:
            prepared = prepare((gate, up), normed)
            g, u = gate.up(prepared, low_gate), up.up(prepared, low_up)
        active = swiglu_forward(g, u)[2]
        dactive, dad, dbd = down.backward(dy, active, low_down, seed.next(2))
        del active
        dg, du = swiglu_backward(g, u, dactive)  # in place of g and u
        del dactive
        dnormed, dag, dbg = gate.backward(dg, normed, low_gate, seed)
        dnormed, dau, dbu = up.backward(du, normed, low_up, seed.next(), onto=dnormed)
        dx = norm.backward(dnormed, x, rstd).add_(dy)
        return dx, dag, dbg, dau, dbu, dad, dbd, None, None, None, None


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross entropy in float32 of logits (n, vocabulary), 256 rows at a time: no float32 copy of all."""
    losses = [
        torch.nn.functional.cross_entropy(part.float(), target, reduction="sum")
        for part, target in zip(logits.detach().split(256), labels.split(256), strict=True)
    ]
    return torch.stack(losses).sum() / len(labels)


class HeadLoss(Function):
    """Mean cross entropy (nats per token) of linear(norm(x)) against labels; its gradient is made at once.

    x (n, hidden), labels (n,) without ignored ones. The logits (n, vocabulary) turn into their gradient in place and
    are gone before the layers' backward pass begins.
    """

    @staticmethod
    def forward(ctx, x, a, b, norm: Norm, linear: LoraLinear, labels: Tensor, seed: Seed):
        normed, rstd = norm.forward(x)
        low = linear.down(normed, seed)
        logits = linear.up(normed, low).requires_grad_()  # else liger leaves them as they are
        loss = _cross_entropy(logits, labels)  # liger's own value is rounded to the logits' format
        *_, dlogits = cross_entropy_forward(logits, labels, None, IGNORED, 0.0, 0.0, "mean", None, False, False, False)
        dnormed, da, db = linear.backward(dlogits, normed, low, seed)
        ctx.save_for_backward(norm.backward(dnormed, x, rstd), da, db)
        return loss

    @staticmethod
    def backward(ctx, dloss):
        dx, da, db = ctx.saved_tensors
        da, db = (None if gradient is None else gradient * dloss for gradient in (da, db))
        return dx * dloss.to(dx.dtype), da, db, None, None, None, None
