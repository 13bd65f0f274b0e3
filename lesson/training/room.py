"""The sizes of a base with how many tokens of an iteration this machine's memory is sure to hold, where that is known."""

from __future__ import annotations

from dataclasses import replace

from lesson.config.profiles import EIGHT_BITS
from lesson.core.machine import first_gpu, multiplies_bfloat16, total_memory
from lesson.core.settings import Values
from lesson.model.shape import Shape, lora_parameters
from lesson.model.sizes import BaseSizes, read_base_sizes
from lesson.training.memory import CUDA_CONTEXT, GB, KEEP_ALL, LIBRARIES, Workload, estimate_memory, usable_memory

SHARE = 0.8  # of the memory; the rest is the system's
USUAL_RANK = 64  # of LoRA in the stock configs


def read_sizes_and_room(values: Values) -> BaseSizes:
    """As read_base_sizes. `tokens` is told by lesson/training/memory.py at PROFILE=small without another SPEED, and where
    GPU_MEMORY= names the memory; it is None elsewhere, where it was measured what fits."""
    sizes = read_base_sizes(values)
    if sizes.shape is None or values.speed != "fast":
        return sizes
    rank = values.lora_r or USUAL_RANK
    if values.profile == "small":
        return replace(sizes, tokens=count_tokens_that_fit(sizes.shape, rank))
    if values.profile == "7b" and values.gpu_memory:
        work = Workload(
            0,
            lora_parameters(sizes.shape, rank),
            quantized=values.quant == "nf4",
            fast=True,
            # So many tokens that what would be computed twice is kept: filling the memory with more gains nothing.
            kept=KEEP_ALL,
            eight_bits=values.base_dtype in EIGHT_BITS,
        )
        return replace(sizes, tokens=_fit(sizes.shape, work, usable_memory(values.gpu_memory * GB)))
    return sizes


def count_tokens_that_fit(shape: Shape, rank: int) -> int:
    """Tokens of an iteration of PROFILE=small that the first GPU holds, else this machine; at least 1."""
    _, gpu = first_gpu()
    memory, libraries = (gpu, CUDA_CONTEXT) if gpu else (total_memory(), LIBRARIES)
    each = 2 if multiplies_bfloat16() else 4
    lora = lora_parameters(shape, rank)
    work = Workload(0, lora, quantized=False, fast=True, kept=KEEP_ALL)
    if not gpu:
        work = Workload(0, lora, small=True, bytes_each=each)
    return _fit(shape, work, SHARE * memory - libraries)


def _fit(shape: Shape, work: Workload, memory: float) -> int:
    """Tokens of an iteration of `work` whose peak is `memory` bytes; at least 1."""
    some = 1024  # the peak grows by as much with each token
    nothing, more = (estimate_memory(shape, replace(work, tokens=tokens))["peak"] for tokens in (0, some))
    return max(int((memory - nothing) / (more - nothing) * some), 1)
