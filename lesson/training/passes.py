"""Forward and backward passes of PROFILE=small, written out: LoRA on a frozen layer, RMSNorm, SwiGLU, attention, the loss.

Plain torch, for any processor and any number format. What autograd would do beyond this is left out: no gradient and no
float32 copy of a frozen weight, no logits where no label is, no intermediate that is cheaper to compute again. In
float32 the numbers are autograd's up to rounding; tests hold each function against it.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F

HEAD_CELLS = 16 << 20  # logits made at a time: 32 MB in bfloat16
QUERIES = 128  # queries whose attention is computed again at a time in the backward pass


class LoraLinear(Function):
    """y = x Wᵀ + b + s·dropout(x) Aᵀ Bᵀ with W and b frozen (Hu et al., arXiv:2106.09685, section 4.1).

    x (…, in), W (out, in), b (out,) or None, A (r, in), B (out, r) → y (…, out). x, W and b are of one number format; A
    and B are float32, are multiplied in x's format and get float32 gradients. `p` is the share that dropout drops.
    """

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scale: float, p: float):
        flat = x.reshape(-1, x.shape[-1])
        kept = _draw_kept(flat, p)
        down, up = (a * scale).to(x.dtype), b.to(x.dtype)  # the scale costs least on A, the smallest
        low = F.linear(_dropped(flat, kept, p), down)
        y = F.linear(flat, weight, bias).addmm_(low, up.t())
        ctx.save_for_backward(flat, weight, down, up, low, kept)
        ctx.shape, ctx.scale, ctx.p = x.shape, scale, p
        return y.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx, dy: Tensor):
        flat, weight, down, up, low, kept = ctx.saved_tensors
        dy = dy.reshape(-1, dy.shape[-1])
        db = (dy.t() @ low).float()
        dlow = dy @ up
        da = (dlow.t() @ _dropped(flat, kept, ctx.p)).float().mul_(ctx.scale)
        dx = None
        if ctx.needs_input_grad[0]:
            dx = dy @ weight
            if kept is None:
                dx.addmm_(dlow, down)
            else:
                dx += _dropped(dlow @ down, kept, ctx.p)
            dx = dx.view(ctx.shape)
        return dx, None, None, da, db, None, None


def _draw_kept(x: Tensor, p: float) -> Tensor | None:
    """Where dropout of the share `p` keeps a value of x; None where it keeps all."""
    return torch.empty_like(x, dtype=torch.bool).bernoulli_(1 - p) if p else None


def _dropped(x: Tensor, kept: Tensor | None, p: float) -> Tensor:
    return x if kept is None else (x * kept).mul_(1 / (1 - p))


class RmsNorm(Function):
    """weight · x / √(mean(x²) + ε) over the last dimension, weight frozen; squares and roots in float32, as in Llama."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, epsilon: float):
        wide = x.float()
        norm = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
        root = torch.rsqrt(norm.square_().div_(x.shape[-1]).add_(epsilon))
        ctx.save_for_backward(x, weight, root)
        return (wide * root).to(x.dtype).mul_(weight)

    @staticmethod
    def backward(ctx, dy: Tensor):
        x, weight, root = ctx.saved_tensors
        wide, scaled = x.float(), (dy * weight).float()
        inner = torch.linalg.vecdot(scaled, wide).unsqueeze(-1).mul_(root.square()).div_(-x.shape[-1])
        return torch.addcmul(scaled, wide, inner).mul_(root).to(x.dtype), None, None


class SwiGlu(Function):
    """silu(gate) · up; silu(gate) is computed again in the backward pass instead of being kept."""

    @staticmethod
    def forward(ctx, gate: Tensor, up: Tensor):
        ctx.save_for_backward(gate, up)
        return F.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx, dy: Tensor):
        gate, up = ctx.saved_tensors
        dup = F.silu(gate).mul_(dy)
        return torch.ops.aten.silu_backward(dy * up, gate), dup


class HeadLoss(Function):
    """Mean cross entropy (nats per token) of x Wᵀ, plus LoRA's part where the head has one, against labels.

    x (n, hidden), labels (n,) without ignored ones, W (vocabulary, hidden); A, B as in LoraLinear or None. Logits are
    made a few rows at a time and turned into their gradient at once, so that they are never all there.
    """

    @staticmethod
    def forward(
        ctx, x: Tensor, weight: Tensor, labels: Tensor, a: Tensor | None, b: Tensor | None, scale: float, p: float
    ):
        dx, total = torch.empty_like(x), x.new_zeros((), dtype=torch.float32)
        adapted = a is not None
        if adapted:
            kept = _draw_kept(x, p)
            down, up = (a * scale).to(x.dtype), b.to(x.dtype)
            dropped = _dropped(x, kept, p)
            low, dlow, db = F.linear(dropped, down), x.new_empty(len(x), len(down)), torch.zeros_like(b)
        rows = max(HEAD_CELLS // len(weight), 1)
        logits, wide = _head_buffers(rows, len(weight), x.dtype, x.device)
        for start in range(0, len(x), rows):
            part = slice(start, start + rows)
            right = labels[part, None]
            gradient, scores = logits[: len(right)], wide[: len(right)]
            torch.mm(x[part], weight.t(), out=gradient)
            if adapted:
                gradient.addmm_(low[part], up.t())
            scores.copy_(gradient)
            largest = scores.amax(-1, keepdim=True)
            chosen = scores.gather(1, right)
            sums = scores.sub_(largest).exp_().sum(-1, keepdim=True)
            total += (sums.log() + largest - chosen).sum()
            scores.div_(sums).scatter_add_(1, right, scores.new_full((len(right), 1), -1.0))
            gradient.copy_(scores)
            torch.mm(gradient, weight, out=dx[part])
            if adapted:
                dlow[part] = gradient @ up
                db += gradient.t() @ low[part]
        count = len(labels)
        da = None
        if adapted:
            dx += _dropped(dlow @ down, kept, p)
            da = (dlow.t() @ dropped).float().mul_(scale / count)
            db = db.div_(count)
        ctx.save_for_backward(dx.div_(count), da, db if adapted else None)
        return total / count

    @staticmethod
    def backward(ctx, dloss: Tensor):
        dx, da, db = ctx.saved_tensors
        low_rank = (None, None) if da is None else (da * dloss, db * dloss)
        return dx * dloss.to(dx.dtype), None, None, *low_rank, None, None


@functools.cache
def _head_buffers(rows: int, vocabulary: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """(rows, vocabulary) in `dtype` and in float32, used by every step: pieces of another size each time would leave
    holes in memory."""
    shape = (rows, vocabulary)
    return torch.empty(shape, dtype=dtype, device=device), torch.empty(shape, dtype=torch.float32, device=device)


class CausalAttention(Function):
    """softmax(mask(q kᵀ · s)) v of q, k, v (batch, heads, length, size) on a CPU; position i sees 0 … i.

    Forward by torch's fused kernel. Its own backward kernel takes five times as long as the forward one; this one takes
    about two thirds of that. It computes a block of queries at a time by matrix products. P = exp(s·q kᵀ - logsumexp) and
    dP - rowsum(dO · O) come out of a product each: what is subtracted is a further column of the factors, in two parts,
    so that bfloat16 loses none of it (Dao et al., arXiv:2205.14135, appendix B.2, has the formulas).
    """

    @staticmethod
    def forward(ctx, q: Tensor, k: Tensor, v: Tensor, scale: float):
        out, log_sum = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, True, scale=scale)
        ctx.save_for_backward(q, k, v, out, log_sum)
        ctx.scale = scale
        return out

    @staticmethod
    def backward(ctx, dout: Tensor):
        q, k, v, out, log_sum = ctx.saved_tensors
        shape, length = q.shape, q.shape[-2]
        rows = (dout.float() * out).sum(-1).reshape(-1, length)
        log_sum = log_sum.reshape(-1, length)
        # One batch of matrices behind each other: products of slices of anything else copy them first.
        q, k, v, dout = (x.contiguous().view(-1, length, shape[-1]) for x in (q * ctx.scale, k, v, dout))
        wide_q, wide_dout = _with_columns(q, -log_sum), _with_columns(dout, -rows)
        wide_k, wide_v = _with_ones(k), _with_ones(v)
        dq, dk, dv = torch.empty_like(q), torch.zeros_like(q), torch.zeros_like(q)
        for start in range(0, length, QUERIES):
            end = min(start + QUERIES, length)
            part = slice(start, end)
            weights = torch.bmm(wide_q[:, part], wide_k[:, :end].transpose(1, 2)).exp_()
            weights[..., start:].tril_()
            dv[:, :end].baddbmm_(weights.transpose(1, 2), dout[:, part])
            scores = torch.bmm(wide_dout[:, part], wide_v[:, :end].transpose(1, 2)).mul_(weights)
            dq[:, part] = torch.bmm(scores, k[:, :end])
            dk[:, :end].baddbmm_(scores.transpose(1, 2), q[:, part])
        return dq.mul_(ctx.scale).view(shape), dk.view(shape), dv.view(shape), None


def _with_columns(x: Tensor, column: Tensor) -> Tensor:
    """x (n, length, size) with `column` (n, length), a float32, behind it as two numbers of x's format that sum to it."""
    high = column.to(x.dtype)
    low = (column - high).to(x.dtype)
    return torch.cat([x, high.unsqueeze(-1), low.unsqueeze(-1)], -1)


def _with_ones(x: Tensor) -> Tensor:
    return torch.cat([x, x.new_ones(*x.shape[:-1], 2)], -1)
