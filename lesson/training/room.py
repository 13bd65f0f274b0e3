"""The sizes of a base with how many tokens of an iteration this machine's memory is sure to hold, where that is known."""

from __future__ import annotations

from dataclasses import replace

from lesson.core.machine import first_gpu, multiplies_bfloat16, total_memory
from lesson.core.settings import Values
from lesson.model.shape import Shape, lora_parameters
from lesson.model.sizes import BaseSizes, read_base_sizes
from lesson.training.memory import CUDA_CONTEXT, LIBRARIES, Workload, estimate_memory

SHARE = 0.8  # of the memory; the rest is the system's
USUAL_RANK = 64  # of LoRA in the stock configs


def read_sizes_and_room(values: Values) -> BaseSizes:
    """As read_base_sizes. At PROFILE=small without another SPEED, `tokens` is told by lesson/training/memory.py; it is
    None elsewhere, where it was measured what fits."""
    sizes = read_base_sizes(values)
    if sizes.shape is None or values.profile != "small" or values.speed != "fast":
        return sizes
    return replace(sizes, tokens=count_tokens_that_fit(sizes.shape, values.lora_r or USUAL_RANK))


def count_tokens_that_fit(shape: Shape, rank: int) -> int:
    """Tokens of an iteration of PROFILE=small that the first GPU holds, else this machine; at least 1."""
    _, gpu = first_gpu()
    memory, libraries = (gpu, CUDA_CONTEXT) if gpu else (total_memory(), LIBRARIES)
    each = 2 if multiplies_bfloat16() else 4
    work = Workload(0, lora_parameters(shape, rank), small=True, bytes_each=each)
    nothing = estimate_memory(shape, work)["peak"] + libraries
    one = estimate_memory(shape, replace(work, tokens=1))["peak"] + libraries
    return max(int((SHARE * memory - nothing) / (one - nothing)), 1)
