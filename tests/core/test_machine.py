"""What the machine is: the type that goldens go by, and the GPUs as the driver's tool lists them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lesson.core import machine
from lesson.core.settings import Values

CPUINFO = """processor\t: 0
cpu family\t: 6
model\t\t: 143
model name\t: Intel(R) Xeon(R) Platinum 8480C CPU @ 2.00GHz
stepping\t: 8
flags\t\t: fpu avx2 avx512f avx512_bf16{more}

processor\t: 1
model name\t: another
"""


def test_the_machine_s_type_tells_apart_what_chooses_other_kernels(tmp_path):
    told = machine.processor_facts(CPUINFO.format(more=" amx_tile"))
    assert told == {
        "name": "Intel(R) Xeon(R) Platinum 8480C CPU @ 2.00GHz",
        "version": "6-143-8",
        "instructions": "amx_tile",
    }
    assert machine.processor_facts(CPUINFO.format(more=""))["instructions"] == "avx512_bf16"
    assert machine.processor_facts("") == {"name": "", "version": "", "instructions": ""}
    assert machine.slug(told["name"]) == "intel-xeon-platinum-8480c"
    assert machine.machine_type("NVIDIA H100 80GB HBM3") == "nvidia-h100-80gb-hbm3"


@given(st.text(max_size=40))
def test_a_machine_s_type_is_always_a_part_of_a_file_name(text):
    slug = machine.slug(text)
    assert slug and set(slug) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert machine.slug(slug) == slug or "cpu" in slug


def put_driver_tool(folder, monkeypatch, script: str) -> None:
    """Let `nvidia-smi` be a shell script, and nothing else on the PATH but the shell."""
    tool = folder / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_gpus_are_told_by_the_driver_s_tool(tmp_path, monkeypatch):
    script = """case "$1" in
--list-gpus) echo "GPU 0: NVIDIA A100 (UUID: x)"; echo "GPU 1: NVIDIA A100 (UUID: y)";;
--query-gpu=name,memory.total) echo "NVIDIA A100, 81920"; echo "NVIDIA A100, 81920";;
--query-gpu=name) echo "NVIDIA A100"; echo "NVIDIA A100";;
--query-gpu=driver_version) echo "550.54.15"; echo "550.54.15";;
esac"""
    put_driver_tool(tmp_path, monkeypatch, script)
    assert machine.has_nvidia_driver() and machine.count_gpus() == 2
    assert machine.first_gpu() == ("NVIDIA A100", 80 * 2**30)
    assert machine.gpu_name() == "NVIDIA A100" and machine.driver_version() == "550.54.15"
    assert machine.describe_machine(with_gpu=True)["type"] == "nvidia-a100"
    assert machine.describe_machine(with_gpu=False)["gpu"] is None
    assert Values({}, {}).profile == "7b"


@pytest.mark.parametrize("script", [None, "echo NVIDIA-SMI has failed; exit 9", "true"])
def test_no_gpu_where_the_tool_is_missing_fails_or_is_silent(tmp_path, monkeypatch, script):
    monkeypatch.setenv("PATH", str(tmp_path))
    if script:
        put_driver_tool(tmp_path, monkeypatch, script)
    assert not machine.count_gpus() and machine.first_gpu() == (None, None)
    assert machine.gpu_name() is None and machine.driver_version() is None
    assert Values({}, {}).profile == ("7b" if script else "tiny")


def test_memory_is_told_in_bytes():
    assert 0 < machine.available_memory() < machine.total_memory()


@pytest.mark.parametrize(
    ("cpuinfo", "able"),
    [("flags\t\t: fpu avx2 avx512f\n", False), ("flags\t\t: fpu amx_bf16\n", True), ("Features : asimd bf16\n", True)],
)
def test_bfloat16_is_told_by_the_processor_s_flags_or_a_gpu(cpuinfo, able, monkeypatch):
    monkeypatch.setattr(machine, "_cpuinfo", lambda: cpuinfo)
    monkeypatch.setattr(machine, "has_nvidia_driver", lambda: False)
    assert machine.multiplies_bfloat16() is able
    monkeypatch.setattr(machine, "has_nvidia_driver", lambda: True)
    assert machine.multiplies_bfloat16()
