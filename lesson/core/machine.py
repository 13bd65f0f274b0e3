"""The machine: its GPUs as the NVIDIA driver's tool lists them, memory, processor, and the type that goldens go by.

The type is what decides how sums are rounded: two machines of one type give one training the same bits.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
from pathlib import Path

DRIVER_TOOL = "nvidia-smi"
ANSWER_TIME = 20  # seconds that the driver's tool may take
# Vector instructions that libraries choose their kernels by, best first. Clouds sell one "Intel Xeon Processor" after
# another under that very name, so name, family, model, stepping and this together are the type.
BFLOAT16_FLAGS = ("amx_bf16", "avx512_bf16", "bf16")  # Intel, AMD and Intel, ARM
INSTRUCTIONS = ("amx_tile", "avx512_bf16", "avx512f", "avx2", "asimd")


def multiplies_bfloat16() -> bool:
    """Whether this machine multiplies bfloat16 fast: its processor has instructions for it, or there is a GPU."""
    flags = _cpu_flags(_cpuinfo())
    return has_nvidia_driver() or not flags.isdisjoint(BFLOAT16_FLAGS)


def has_nvidia_driver() -> bool:
    """Whether the NVIDIA driver's tool is on the PATH: told without importing torch."""
    return shutil.which(DRIVER_TOOL) is not None


def count_gpus() -> int | None:
    """GPUs of this machine as the driver's tool lists them; None where there is no such tool, or it fails."""
    listed = _ask_driver("--list-gpus")
    return None if listed is None else listed.count("\n")


def first_gpu() -> tuple[str | None, float | None]:
    """(name, memory in bytes) of the first GPU; (None, None) without one."""
    answer = _ask_driver("--query-gpu=name,memory.total", "--format=csv,noheader,nounits") or ""
    try:
        name, mebibytes = answer.splitlines()[0].rsplit(",", 1)
        return name.strip(), float(mebibytes) * 2**20
    except (ValueError, IndexError):
        return None, None


def gpu_name() -> str | None:
    """The first GPU's name; None without one."""
    answer = _ask_driver("--query-gpu=name", "--format=csv,noheader") or ""
    return next((line.strip() for line in answer.splitlines()), None)


def driver_version() -> str | None:
    """The NVIDIA driver's version; None without a driver."""
    answer = _ask_driver("--query-gpu=driver_version", "--format=csv,noheader") or ""
    return next(iter(answer.split()), None)


def _ask_driver(*arguments: str) -> str | None:
    """What the driver's tool prints; None where there is no such tool, it fails or does not answer."""
    tool = shutil.which(DRIVER_TOOL)
    if not tool:
        return None
    import subprocess  # a fifth of the start of a small command that asks no driver

    try:
        done = subprocess.run([tool, *arguments], capture_output=True, text=True, timeout=ANSWER_TIME, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def total_memory() -> int:
    """The machine's memory in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def available_memory() -> int | None:
    """The memory in bytes that new processes can have without swapping; None where the system does not tell."""
    try:
        text = Path("/proc/meminfo").read_text(encoding="utf-8")
        return next(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return None


def describe_machine(with_gpu: bool) -> dict[str, object]:
    """What a record tells of the machine: its type, processor, cores, memory in bytes, and the GPU's name or None."""
    gpu = gpu_name() if with_gpu else None
    return {
        "type": machine_type(gpu),
        "processor": processor_facts(_cpuinfo())["name"] or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "memory": total_memory(),
        "gpu": gpu,
    }


def machine_type(gpu: str | None) -> str:
    """This machine's type, a part of a file name: its GPU's when it trains on one, else its processor's."""
    if gpu:
        return slug(gpu)
    processor = processor_facts(_cpuinfo())
    name = processor["name"] or platform.processor() or platform.machine()
    return slug(" ".join([name, processor["version"], processor["instructions"]]))


def processor_facts(cpuinfo: str) -> dict[str, str]:
    """{"name", "version": family-model-stepping, "instructions"} from the text of /proc/cpuinfo; "" where not told."""
    found: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        found.setdefault(key.strip(), value.strip())
    version = [found.get(key, "") for key in ("cpu family", "model", "stepping")]
    flags = _cpu_flags(cpuinfo)
    return {
        "name": found.get("model name", ""),
        "version": "-".join(version) if all(version) else "",
        "instructions": next((name for name in INSTRUCTIONS if name in flags), ""),
    }


def _cpu_flags(cpuinfo: str) -> set[str]:
    """The instruction sets of the first processor in the text of /proc/cpuinfo."""
    named = re.search(r"^(?:flags|Features)\s*:(.*)$", cpuinfo, re.MULTILINE)
    return set(named[1].split()) if named else set()


def count_cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpuinfo() -> str:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def slug(text: str) -> str:
    """`text` as a part of a file name: lower case letters, digits and single hyphens; trademarks and clock left out."""
    text = re.sub(r"\((r|tm)\)|@.*?ghz|\bcpu\b", " ", text.lower())
    return re.sub(r"[^a-z0-9]+", "-", text).strip("-") or "unknown"
