"""Forward and backward passes of PROFILE=small, written out: LoRA on frozen layers, gated MLPs, RMSNorm, attention, the loss.

Plain torch, for any processor and any number format. What autograd would do beyond this is left out: no gradient and no
float32 copy of a frozen weight, no logits where no label is, no intermediate that is cheaper to compute again. In
float32 the numbers are autograd's up to rounding; tests hold each function against it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional as F

HEAD_CELLS = 16 << 20  # logits made at a time: 32 MB in bfloat16
QUERIES = 128  # queries whose attention is computed again at a time in the backward pass


@dataclass
class Member:
    """A frozen layer of a LoraGroup and its LoRA: W (out, in), b (out,) or None, A (r, in) and B (out, r), the scale s.

    r and s are the same for all layers of a group.
    """

    weight: nn.Parameter
    bias: Tensor | None
    a: nn.Parameter
    b: nn.Parameter
    scale: float


class LoraGroup:
    """Frozen layers of one input, as attention's q, k and v, with their LoRA, multiplied as one matrix.

    y = x Wᵀ + b + s·dropout(x) Aᵀ Bᵀ (Hu et al., arXiv:2106.09685, section 4.1) is [x, l] [W, B]ᵀ + b with
    l = s·dropout(x) Aᵀ, for several layers too, with their W and A below each other and their B along a diagonal: two
    products forward, and [dx, dl] = dy [W, B] is one backward. The layers' W become parts of that matrix, so that they
    are in memory once. x, W and b are of one number format; A and B are float32, are multiplied in x's format and get
    float32 gradients.
    """

    def __init__(self, members: list[Member]) -> None:
        self.members = members
        self.inputs = members[0].weight.shape[1]
        self.low = sum(len(member.a) for member in members)
        self.outputs = sum(len(member.weight) for member in members)
        self.matrix: Tensor | None = None

    @property
    def parameters(self) -> list[nn.Parameter]:
        return [parameter for member in self.members for parameter in (member.a, member.b)]

    def slices(self) -> Iterator[tuple[Member, slice, slice, slice]]:
        """Each member, its part of y, its part of l, and where l's part stands behind x."""
        out = low = 0
        for member in self.members:
            rows, columns = slice(out, out + len(member.weight)), slice(low, low + len(member.a))
            yield member, rows, columns, slice(self.inputs + columns.start, self.inputs + columns.stop)
            out, low = rows.stop, columns.stop

    def refresh(self) -> None:
        """Make [W, B] and s·A: W once for each device, and LoRA's weights of each step."""
        first = self.members[0].weight
        if self.matrix is None or self.matrix.device != first.device or self.matrix.dtype != first.dtype:
            self.matrix = first.new_zeros(self.outputs, self.inputs + self.low)
            self.down = first.new_empty(self.low, self.inputs)
            biases = [member.bias for member in self.members]
            self.bias = None if biases[0] is None else torch.cat([bias.detach() for bias in biases])
            for member, rows, _, _ in self.slices():
                part = self.matrix[rows, : self.inputs]
                part.copy_(member.weight.detach())
                member.weight.data = part
        for member, rows, columns, behind in self.slices():
            self.matrix[rows, behind] = member.b.detach()
            torch.mul(member.a.detach(), member.scale, out=self.down[columns])

    def forward(self, wide: Tensor, p: float) -> tuple[Tensor, list[Tensor] | None]:
        """y (n, out) of `wide` (n, in + low), whose first columns are x; l is written behind them. And where each member's
        dropout of the share `p` kept a value; None where it keeps all."""
        self.refresh()
        x = wide[:, : self.inputs]
        kept = [_draw_kept(x, p) for _ in self.members] if p else None
        if kept is None:
            torch.mm(x, self.down.t(), out=wide[:, self.inputs :])
        else:
            for (_, _, columns, behind), mask in zip(self.slices(), kept, strict=True):
                torch.mm(_dropped(x, mask, p), self.down[columns].t(), out=wide[:, behind])
        return F.linear(wide, self.matrix, self.bias), kept

    def backward(self, dy: Tensor, wide: Tensor, kept: list[Tensor] | None, p: float) -> tuple[Tensor, list[Tensor]]:
        """The gradients by x (n, in), a part of a wider matrix, and by each of `parameters`, from dy (n, out)."""
        dwide = dy @ self.matrix
        x, dx, dlow = wide[:, : self.inputs], dwide[:, : self.inputs], dwide[:, self.inputs :]
        # One matrix for all A and one for all B: few long loops instead of many short ones.
        das, dbs = dy.new_empty(self.low, self.inputs), dy.new_empty(self.outputs, len(self.members[0].a))
        if kept is None:
            torch.mm(dlow.t(), x, out=das)
            dx.addmm_(dlow, self.down)
        for at, (_, rows, columns, behind) in enumerate(self.slices()):
            torch.mm(dy[:, rows].t(), wide[:, behind], out=dbs[rows])
            if kept is not None:
                torch.mm(dlow[:, columns].t(), _dropped(x, kept[at], p), out=das[columns])
                dx += _dropped(dlow[:, columns] @ self.down[columns], kept[at], p)
        das, dbs = das.float().mul_(self.members[0].scale), dbs.float()
        return dx, [part for _, rows, columns, _ in self.slices() for part in (das[columns], dbs[rows])]


class LoraLinears(Function):
    """The outputs (…, out) of the layers of `group`, one tensor each, of x (…, in)."""

    @staticmethod
    def forward(ctx, x: Tensor, group: LoraGroup, p: float, *parameters: Tensor):
        wide = x.new_empty(x.shape[:-1].numel(), group.inputs + group.low)
        wide[:, : group.inputs] = x.reshape(len(wide), -1)
        y, kept = group.forward(wide, p)
        ctx.save_for_backward(wide)
        ctx.group, ctx.kept, ctx.p, ctx.shape = group, kept, p, x.shape
        if len(group.members) == 1:
            return (y.view(*x.shape[:-1], -1),)
        return tuple(y[:, rows].contiguous().view(*x.shape[:-1], -1) for _, rows, _, _ in group.slices())

    @staticmethod
    def backward(ctx, *dys: Tensor):
        (wide,) = ctx.saved_tensors
        dy = torch.cat([dy.reshape(len(wide), -1) for dy in dys], -1) if len(dys) > 1 else dys[0].reshape(len(wide), -1)
        dx, gradients = ctx.group.backward(dy, wide, ctx.kept, ctx.p)
        return dx.reshape(ctx.shape), None, None, *gradients


class GatedMlp(Function):
    """down(silu(gate(x)) · up(x)) of x (…, in): `first` is the group of gate and up, `second` that of down.

    silu(gate) is computed again in the backward pass instead of being kept.
    """

    @staticmethod
    def forward(ctx, x: Tensor, first: LoraGroup, second: LoraGroup, p: float, *parameters: Tensor):
        n = x.shape[:-1].numel()
        wide = x.new_empty(n, first.inputs + first.low)
        wide[:, : first.inputs] = x.reshape(n, -1)
        both, kept = first.forward(wide, p)
        gate, up = both.chunk(2, -1)
        active = x.new_empty(n, second.inputs + second.low)
        torch.mul(F.silu(gate), up, out=active[:, : second.inputs])
        y, kept_down = second.forward(active, p)
        ctx.save_for_backward(wide, both, active)
        ctx.rest = first, second, kept, kept_down, p, x.shape
        return y.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx, dy: Tensor):
        wide, both, active = ctx.saved_tensors
        first, second, kept, kept_down, p, shape = ctx.rest
        dactive, of_down = second.backward(dy.reshape(len(wide), -1), active, kept_down, p)
        (gate, up), dboth = both.chunk(2, -1), torch.empty_like(both)
        dgate, dup = dboth.chunk(2, -1)
        torch.mul(F.silu(gate), dactive, out=dup)
        torch.ops.aten.silu_backward.grad_input(dactive.mul_(up), gate, grad_input=dgate)
        dx, of_both = first.backward(dboth, wide, kept, p)
        return dx.reshape(shape), None, None, None, *of_both, *of_down


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


class HeadLoss(Function):
    """Mean cross entropy (nats per token) of x Wᵀ, plus LoRA's part where the head has one, against labels.

    x (n, hidden), labels (n,) without ignored ones, W (vocabulary, hidden); A, B as in LoraGroup or None. Logits are
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


class Rotary(Function):
    """Rotary positions (Su et al., arXiv:2104.09864) of x (batch, heads, length, size), in two halves as in Llama:
    x · cos + (-x₂, x₁) · sin, with cos and sin (batch or 1, length, size)."""

    @staticmethod
    def forward(ctx, x: Tensor, cos: Tensor, sin: Tensor):
        first, second = sin.chunk(2, -1)
        ctx.save_for_backward(cos, torch.cat([second, -first], -1))
        out = torch.empty(
            x.shape, dtype=x.dtype, device=x.device
        )  # of each head what attention multiplies lies together
        torch.mul(x, cos.unsqueeze(1), out=out)
        return out.addcmul_(_exchange_halves(x), torch.cat([-first, second], -1).unsqueeze(1))

    @staticmethod
    def backward(ctx, dy: Tensor):
        cos, sin = ctx.saved_tensors
        dx = torch.empty_like(dy.transpose(1, 2), memory_format=torch.contiguous_format).transpose(1, 2)
        return torch.addcmul(dy * cos.unsqueeze(1), _exchange_halves(dy), sin.unsqueeze(1), out=dx), None, None


def _exchange_halves(x: Tensor) -> Tensor:
    first, second = x.chunk(2, -1)
    return torch.cat([second, first], -1)


def rotate(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """What transformers calls apply_rotary_pos_emb."""
    return Rotary.apply(q, cos, sin), Rotary.apply(k, cos, sin)


class CausalAttention(Function):
    """softmax(mask(q kᵀ · s)) v on a CPU; position i sees 0 … i. q is (batch, heads, length, size); k and v have as many
    heads or a share of them, of which each is for several heads of q behind each other (Ainslie et al., arXiv:2305.13245).

    Forward by torch's fused kernel. Its own backward kernel takes five times as long as the forward one; this one takes
    about half of that. It computes a block of queries at a time by matrix products. P = exp(s·q kᵀ - logsumexp) and
    dP - rowsum(dO · O) come out of a product each: what is subtracted is a further column of the factors, in two parts,
    so that bfloat16 loses none of it (Dao et al., arXiv:2205.14135, appendix B.2, has the formulas).
    """

    @staticmethod
    def forward(ctx, q: Tensor, k: Tensor, v: Tensor, scale: float):
        out, log_sum = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            q, repeat_heads(k, q.shape[1]), repeat_heads(v, q.shape[1]), 0.0, True, scale=scale
        )
        ctx.save_for_backward(q, k, v, out, log_sum)
        ctx.scale = scale
        return out

    @staticmethod
    def backward(ctx, dout: Tensor):
        q, k, v, out, log_sum = ctx.saved_tensors
        length, size = q.shape[-2:]
        kept = k.shape[0] * k.shape[1]
        several = (kept, -1, length, size)  # the heads of q for each head of k
        rows = (dout.float() * out).sum(-1).reshape(several[:3])
        # One batch of matrices behind each other: products of slices of anything else copy them first.
        q, dout = ((q * ctx.scale).reshape(several).contiguous(), dout.reshape(several).contiguous())
        shape, (k, v) = k.shape, (x.contiguous().view(kept, length, size) for x in (k, v))
        wide_q, wide_dout = _with_columns(q, -log_sum.reshape(several[:3])), _with_columns(dout, -rows)
        wide_k, wide_v = _with_ones(k), _with_ones(v)
        dq, dk, dv = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        for start in range(0, length, QUERIES):
            end = min(start + QUERIES, length)
            q_part, dout_part, wide_q_part, wide_dout_part = (
                x[:, :, start:end].reshape(kept, -1, x.shape[-1]) for x in (q, dout, wide_q, wide_dout)
            )
            weights = torch.bmm(wide_q_part, wide_k[:, :end].transpose(1, 2)).exp_()
            weights.view(kept, -1, end - start, end)[..., start:].tril_()
            dv[:, :end].baddbmm_(weights.transpose(1, 2), dout_part)
            scores = torch.bmm(wide_dout_part, wide_v[:, :end].transpose(1, 2)).mul_(weights)
            dq[:, :, start:end] = torch.bmm(scores, k[:, :end]).view(kept, -1, end - start, size)
            dk[:, :end].baddbmm_(scores.transpose(1, 2), q_part)
        return dq.mul_(ctx.scale).view(out.shape), dk.view(shape), dv.view(shape), None


def repeat_heads(x: Tensor, heads: int) -> Tensor:
    """x (batch, fewer heads, length, size) with each head as often as it takes to have `heads`."""
    return x if x.shape[1] == heads else x.repeat_interleave(heads // x.shape[1], 1)


def _with_columns(x: Tensor, column: Tensor) -> Tensor:
    """x (…, length, size) with `column` (…, length), a float32, behind it as two numbers of x's format that sum to it."""
    high = column.to(x.dtype)
    low = (column - high).to(x.dtype)
    return torch.cat([x, high.unsqueeze(-1), low.unsqueeze(-1)], -1)


def _with_ones(x: Tensor) -> Tensor:
    return torch.cat([x, x.new_ones(*x.shape[:-1], 2)], -1)
