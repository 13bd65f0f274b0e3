"""The frozen weights of SPEED=fast: how each number format is kept, and its two products.

A format answers two questions: y = x Wᵀ forward, and dx = dy W backward. Weights in 8 bits also bring their inputs to 8
bits, each row with a scale of its own, as W's rows have:

    x ≈ diag(sx) X,  W ≈ diag(sw) Q,  so  x Wᵀ ≈ diag(sx) X Qᵀ diag(sw)  and  dy W ≈ (dy diag(sw)) Q

`fp8` is float8_e4m3fn: largest number 448, four significant bits (Micikevicius et al., FP8 formats for deep learning,
arXiv:2209.05433); torch._scaled_mm multiplies it, which torchao's float8 training calls too. `int8` is symmetric, from
-127 to 127, as the linear layers of LLM.int8() (arXiv:2208.07339), multiplied by torch._int_mm with sums in int32.
Tensor cores read both factors of an 8-bit product along the dimension that is summed. For dy W that is the other one, so Q
is turned around: in each backward pass (a hundredth of the product's time), or once, into a copy, where memory allows.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

FP8, INT8 = torch.float8_e4m3fn, torch.int8
LARGEST = {FP8: 448.0, INT8: 127.0}  # the numbers go from minus this to this


@triton.jit
def _quantise_kernel(x, columns, out, scales, width, LARGEST: tl.constexpr, ROUND: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, BLOCK)
    inside = at < width
    value = tl.load(x + row * width + at, mask=inside, other=0.0).to(tl.float32)
    if columns is not None:
        value *= tl.load(columns + at, mask=inside, other=0.0)
    scale = tl.maximum(tl.max(tl.abs(value), 0), 1e-12) / LARGEST
    value = value / scale
    if ROUND:
        value = tl.where(value >= 0, tl.floor(value + 0.5), tl.ceil(value - 0.5))
    value = tl.minimum(tl.maximum(value, -LARGEST), LARGEST)
    tl.store(out + row * width + at, value.to(out.dtype.element_ty), mask=inside)
    tl.store(scales + row, scale)


def quantise_rows(x: Tensor, dtype: torch.dtype, columns: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """x (n, k) times `columns` (k,), if given, in 8 bits: numbers (n, k) of `dtype` and float32 scales (n, 1).

    A row's scale takes its largest number to the largest of `dtype`. numbers · scales is x, up to rounding.
    """
    x = x.contiguous()
    rows, width = x.shape
    out = torch.empty_like(x, dtype=dtype)
    scales = torch.empty(rows, 1, dtype=torch.float32, device=x.device)
    block = triton.next_power_of_2(width)
    warps = min(max(block // 1024, 1), 16)
    _quantise_kernel[(rows,)](x, columns, out, scales, width, LARGEST[dtype], dtype == INT8, block, num_warps=warps)
    return out, scales


@triton.jit
def _transpose_kernel(x, out, rows, columns, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    column = tl.program_id(1).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = (row < rows)[:, None] & (column < columns)[None, :]
    tile = tl.load(x + row[:, None] * columns + column[None, :], mask=inside, other=0)
    tl.store(out + column[:, None] * rows + row[None, :], tl.trans(tile), mask=tl.trans(inside))


def transpose_bytes(x: Tensor) -> Tensor:
    """xᵀ as a contiguous tensor, of a contiguous matrix whose numbers have one byte; torch's own copy is slower here."""
    rows, columns = x.shape
    out = torch.empty(columns, rows, dtype=x.dtype, device=x.device)
    grid = (triton.cdiv(rows, 64), triton.cdiv(columns, 64))
    _transpose_kernel[grid](x.view(torch.int8), out.view(torch.int8), rows, columns, 64)
    return out


@triton.jit
def _scale_kernel(sums, rows, columns, onto, out, width, ADD: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = at < width
    value = tl.load(sums + row * width + at, mask=inside, other=0).to(tl.float32) * tl.load(rows + row)
    if columns is not None:
        value *= tl.load(columns + at, mask=inside, other=0.0)
    if ADD:
        value += tl.load(onto + row * width + at, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + row * width + at, value.to(out.dtype.element_ty), mask=inside)


def scale_sums(sums: Tensor, rows: Tensor, columns: Tensor | None, onto: Tensor | None, dtype: torch.dtype) -> Tensor:
    """diag(rows) sums diag(columns), plus `onto` if given, in `dtype`: int32 sums (n, m), rows (n, 1), columns (m,)."""
    out = torch.empty(sums.shape, dtype=dtype, device=sums.device)
    grid = (len(sums), triton.cdiv(sums.shape[1], 1024))
    _scale_kernel[grid](sums, rows, columns, onto, out, sums.shape[1], onto is not None, 1024)
    return out


class PlainWeight:
    """W (out, in) as the base has it: float32, or bfloat16."""

    def __init__(self, weight: Tensor) -> None:
        self.stored = weight

    @property
    def dtype(self) -> torch.dtype:
        """The number format that W is multiplied in."""
        return self.stored.dtype

    def weight(self) -> Tensor:
        """W (out, in) in that format."""
        return self.stored

    def prepare(self, x: Tensor) -> Tensor:
        """x (n, in) as `multiply` takes it: made once where several weights share an input."""
        return x

    def multiply(self, x: Tensor, onto: Tensor | None = None) -> Tensor:
        """x Wᵀ (n, out), plus `onto` (n, out) or (out,) if given."""
        weight = self.weight()
        return x @ weight.t() if onto is None else torch.addmm(onto, x, weight.t())

    def multiply_back(self, dy: Tensor, onto: Tensor | None = None) -> Tensor:
        """dy W (n, in) of dy (n, out), plus `onto` (n, in) if given."""
        weight = self.weight()
        return dy @ weight if onto is None else torch.addmm(onto, dy, weight)


class Nf4Weight(PlainWeight):
    """W in 4 bits, as bitsandbytes stores it (QLoRA, arXiv:2305.14314): unpacked for each product."""

    @property
    def dtype(self) -> torch.dtype:
        return self.stored.quant_state.dtype

    def weight(self) -> Tensor:
        from bitsandbytes.functional import dequantize_4bit

        return dequantize_4bit(self.stored.data, self.stored.quant_state)


class EightBitWeight(nn.Module):
    """W (out, in) in 8 bits with a scale a row, and its products with inputs in 8 bits; the layer's bias stays as it is.

    A module, so that it takes the linear layer's place below PEFT's layer: called with x (…, in), as for the answers
    during training, it multiplies with W unpacked. `turned` is Qᵀ, or None where it is made in each backward pass.
    Numbers that come out are of W's own format before, `dtype`.
    """

    def __init__(self, weight: Tensor, kind: torch.dtype, bias: nn.Parameter | None = None) -> None:
        super().__init__()
        self.dtype, self.kind = weight.dtype, kind
        numbers, scales = quantise_rows(weight.detach(), kind)
        self.register_buffer("numbers", numbers, persistent=False)
        self.register_buffer("scales", scales.squeeze(1), persistent=False)
        self.register_buffer("ones", torch.ones_like(numbers[0], dtype=torch.float32), persistent=False)
        self.turned: Tensor | None = None
        self.bias = bias

    @property
    def shape(self) -> torch.Size:
        return self.numbers.shape

    def keep_turned(self) -> None:
        """Keep Qᵀ: as many bytes again, and no turning in the backward pass."""
        self.turned = transpose_bytes(self.numbers)

    def weight(self) -> Tensor:
        """W (out, in), unpacked."""
        return (self.numbers.to(torch.float32) * self.scales.unsqueeze(1)).to(self.dtype)

    def forward(self, x: Tensor) -> Tensor:
        y = x @ self.weight().to(x.dtype).t()
        return y if self.bias is None else y + self.bias.to(x.dtype)

    def prepare(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return quantise_rows(x, self.kind)

    def multiply(self, x: Tensor | tuple[Tensor, Tensor], onto: Tensor | None = None) -> Tensor:
        numbers, rows = self.prepare(x) if isinstance(x, Tensor) else x
        return self._product(numbers, rows, self.numbers, self.scales, onto)

    def multiply_back(self, dy: Tensor, onto: Tensor | None = None) -> Tensor:
        numbers, rows = quantise_rows(dy, self.kind, self.scales)
        turned = transpose_bytes(self.numbers) if self.turned is None else self.turned
        return self._product(numbers, rows, turned, None, onto)

    def _product(self, x: Tensor, rows: Tensor, weight: Tensor, columns: Tensor | None, onto: Tensor | None) -> Tensor:
        """diag(rows) x weightᵀ diag(columns), plus `onto` (n, m) or (m,); x (n, k), weight (m, k)."""
        if self.kind == INT8:
            onto = onto if onto is None else onto.expand(len(x), -1).contiguous()
            return scale_sums(torch._int_mm(x, weight.t()), rows, columns, onto, self.dtype)
        columns = self.ones if columns is None else columns
        out = torch._scaled_mm(
            x, weight.t(), scale_a=rows, scale_b=columns.unsqueeze(0), out_dtype=self.dtype, use_fast_accum=True
        )
        return out if onto is None else out.add_(onto)


BASE_DTYPES = {"fp8": FP8, "int8": INT8}


def keep_weight(layer: nn.Module, kind: torch.dtype | None) -> PlainWeight | EightBitWeight:
    """The frozen weight below PEFT's LoRA layer: as it is, or brought to 8 bits, which takes its place and frees it.

    A layer without LoRA keeps its weight as it is."""
    base = getattr(layer, "base_layer", layer)
    if kind is None or base is layer:
        quantised = getattr(base.weight, "quant_state", None) is not None
        return (Nf4Weight if quantised else PlainWeight)(base.weight)
    if not isinstance(base, EightBitWeight):
        layer.base_layer = EightBitWeight(base.weight, kind, base.bias)
    return layer.base_layer
