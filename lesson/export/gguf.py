"""FORMAT=gguf: one file for llama.cpp and what is built on it, by llama.cpp's own converter and quantiser."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from lesson.core.files import read_json
from lesson.core.messages import UserError, tr
from lesson.core.processes import PARENT, run_process
from lesson.core.settings import ROOT
from lesson.export.engine import find_python

CONVERTED = ("f16", "q8_0")  # what the converter writes; the quantiser makes the others from 16 bits
ROUNDED_BY_256 = ("q4_k_m", "q5_k_m")  # 256 columns at once
PROCESS = ("-m", "lesson.export.gguf_process")


def write_gguf(
    source: Path,
    target: Path,
    quant: str,
    tools: str = "",
    types: Sequence[str] = (),
    converted: Callable[[], object] = lambda: None,
) -> None:
    """Write `target` from the exported folder `source`; `tools` is LLAMA_CPP, `types` are those of
    choose_tensor_types. Raises UserError when a tool is missing or fails.

    `converted` is called when the weights of `source` are needed no more, which is before the quantiser needs the disk.
    """
    if quant in CONVERTED:
        convert(source, target, quant)
        converted()
        return
    quantise = find_quantiser(tools)
    whole = target.with_name(f"{target.stem}.16.gguf")
    try:
        convert(source, whole, "auto")  # bf16 or f16, as the weights are: nothing is rounded twice
        converted()
        quantise(whole, target, quant, types)
    finally:
        whole.unlink(missing_ok=True)


def choose_tensor_types(source: Path, quant: str) -> list[str]:
    """TENSOR=TYPE for those tensors of the model folder `source` that 4 or 5 bits of llama.cpp cannot hold.

    They take 256 columns at once. Where a tensor has another number of them llama.cpp takes q5_0 or q5_1 in their place,
    which rounds away what training changed: of 100 answers of a Qwen2.5-Coder-0.5B (896 columns) 53 said its name, 96
    before. There q8_0 is taken. A base with such tensors is small, and 4 bits are too few for its ffn_down as well: q6_k.
    The figures of these files are in docs/elsewhere.md.
    """
    if quant not in ROUNDED_BY_256:
        return []
    config = read_json(source / "config.json", tr("run make export again", "请重新运行 make export"))
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    columns = dict.fromkeys(("attn_q", "attn_k", "attn_v", "ffn_up", "ffn_gate"), hidden)
    columns["attn_output"] = heads * (config.get("head_dim") or hidden // heads)
    columns["ffn_down"] = config["intermediate_size"]
    types = {tensor: "q8_0" for tensor, count in columns.items() if count % 256 and not count % 32}
    if types and quant == "q4_k_m" and not columns["ffn_down"] % 256:
        types["ffn_down"] = "q6_k"
    return [f"{tensor}={kind}" for tensor, kind in types.items()]


def convert(source: Path, target: Path, quant: str) -> None:
    """Run llama.cpp's converter in the venv of make setup-export."""
    arguments = [str(source), "--outtype", quant, "--outfile", str(target)]
    run_tool([str(find_python()), *PROCESS, "convert", *arguments], target)


def run_tool(command: list[str], target: Path) -> None:
    """Run a tool that writes `target`. Raises UserError with the end of its words when it fails or writes nothing."""
    told = {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", PARENT: str(os.getpid())}
    process = run_process(command, {**os.environ, **told})
    if process.status or not target.is_file():
        raise UserError(
            " ".join([Path(command[0]).name, *command[1:4]]),
            process.last_line or tr(f"exit status {process.status}", f"退出码 {process.status}"),
            tr("make export FORMAT=hf exports a folder instead", "可用 make export FORMAT=hf 导出目录"),
            details="\n".join(process.screen.splitlines()[-8:]),
        )


def find_quantiser(folder: str):
    """A function (source, target, quant, types) of llama.cpp's quantiser: llama-quantize in `folder` or of the PATH, else the
    library that make setup-export installs. Raises UserError without either."""
    program = shutil.which("llama-quantize", path=folder or None)
    if program:
        run = [sys.executable, *PROCESS, "run", program]

        def call(source: Path, target: Path, quant: str, types: Sequence[str] = ()) -> None:
            options = [word for one in types for word in ("--tensor-type", one)]
            run_tool([*run, *options, str(source), str(target), quant.upper()], target)

        return call
    libraries = find_python().parents[1] / "llama.cpp" / "node_modules" / "@node-llama-cpp"
    if not list(libraries.glob("*/bins/*/libllama*so")):
        raise UserError(
            "llama-quantize",
            tr("not found", "没有找到"),
            tr(
                "install npm and run make setup-export again, or set LLAMA_CPP= to a folder with llama-quantize; "
                "QUANT=q8_0 needs neither",
                "请安装 npm 后重新运行 make setup-export，或用 LLAMA_CPP= 指定含 llama-quantize 的目录；QUANT=q8_0 不需要",
            ),
        )
    command = [sys.executable, *PROCESS, "quantise", str(libraries)]
    return lambda source, target, quant, types=(): run_tool([*command, str(source), str(target), quant, *types], target)
