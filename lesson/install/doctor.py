"""Is everything on this machine that the chosen profile needs?

Each check is a small function whose docstring is the line that the user sees. It returns what was found, or raises
Missing with what is wrong and the command that mends it.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from lesson.core.machine import driver_version, total_memory
from lesson.core.messages import title_of, tr
from lesson.core.settings import Values
from lesson.install.setup import LOCK, PYTHONS, parse_lock
from lesson.runs.environment import engine_environment
from lesson.training.session import LEAST_FREE

LEAST_MEMORY = {"tiny": 4 << 30, "small": 6 << 30, "7b": 16 << 30}  # bytes of host memory
LEAST_GPU_MEMORY = 14 << 30  # bytes: stock at 7B peaks at 12.9 GB
# The modules that the stages import, in the order in which a failure is easiest to understand.
MODULES = [
    "torch",
    "torchvision",
    "transformers",
    "datasets",
    "peft",
    "bitsandbytes",
    "deepspeed",
    "mmengine",
    "xtuner.tools.train",
]


class Missing(Exception):
    """What is missing, and the command that mends it."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.remedy = remedy


Check = Callable[[Values], str]  # what was found; raises Missing


def python(values: Values) -> str:
    """Python 3.11 or 3.12 | Python 版本"""
    if sys.version_info[:2] not in PYTHONS:
        raise Missing(platform.python_version(), "make setup PYTHON=python3.11")
    return platform.python_version()


def versions(values: Values) -> str:
    """installed versions equal requirements.lock | 已装版本与 requirements.lock 一致"""
    wrong = []
    locked = parse_lock(LOCK.read_text(encoding="utf-8"))
    for name, block in locked.items():
        wanted = re.match(r"[^=]+==([^\s;]+)", block).group(1)
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            found = tr("none", "无")
        if found != wanted:
            wrong.append(f"{name} {found} ≠ {wanted}")
    if wrong:
        raise Missing("; ".join(wrong[:4]) + (" …" if len(wrong) > 4 else ""), "make setup")
    return tr(f"{len(locked)} packages", f"{len(locked)} 个软件包")


def override(values: Values) -> str:
    """the one override of XTuner's pins | 对 XTuner 依赖的唯一覆盖"""
    pinned = next((r for r in metadata.requires("xtuner") or [] if r.startswith("bitsandbytes")), "bitsandbytes==?")
    why = tr("XTuner's has no library for CUDA 13", "XTuner 指定的版本没有 CUDA 13 的库")
    return f"bitsandbytes {metadata.version('bitsandbytes')} (XTuner: {pinned.split(';')[0].strip()}); {why}"


def imports(values: Values) -> str:
    """every package that the recipe needs imports | 所需的包都能导入"""
    for name in MODULES:
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                importlib.import_module(name)
        except Exception as error:  # a broken package may raise anything
            raise Missing(f"{name}: {type(error).__name__}: {error}", "make setup") from None
    return ", ".join(name.split(".")[0] for name in MODULES)


def list_cfg(values: Values) -> str:
    """xtuner list-cfg runs | xtuner list-cfg 能运行"""
    command = [sys.executable, "-m", "xtuner.tools.list_cfg"]
    answer = subprocess.run(command, env=engine_environment(values), capture_output=True, text=True)
    configs = [line for line in answer.stdout.splitlines() if re.fullmatch(r"[a-z0-9_.\-]+", line.strip())]
    if answer.returncode or not configs:
        raise Missing((answer.stderr.strip().splitlines() or ["no output"])[-1], "make setup")
    wanted = values.base_config
    if wanted not in [line.strip() for line in configs]:
        raise Missing(
            tr(f"{wanted} is not among {len(configs)} configs", f"{len(configs)} 个配置中没有 {wanted}"),
            "xtuner list-cfg -p internlm",
        )
    return tr(f"{len(configs)} configs, {wanted} among them", f"{len(configs)} 个配置，含 {wanted}")


def processor(values: Values) -> str:
    """processor | 处理器"""
    return f"{platform.machine()}, {os.cpu_count()} " + tr("cores", "核")


def memory(values: Values) -> str:
    """memory | 内存"""
    total = total_memory()
    need = LEAST_MEMORY[values.profile]
    if total < need:
        raise Missing(
            tr(f"{total / 2**30:.1f} GiB of {need >> 30} GiB", f"{total / 2**30:.1f} GiB，需要 {need >> 30} GiB"),
            tr("use a larger machine", "请换内存更大的机器"),
        )
    return f"{total / 2**30:.1f} GiB"


def disk(values: Values) -> str:
    """free disk under BUILD | BUILD 所在磁盘的剩余空间"""
    folder = values.build
    while not folder.exists():
        folder = folder.parent
    free, need = shutil.disk_usage(folder).free, LEAST_FREE[values.profile]
    if not os.access(folder, os.W_OK):
        raise Missing(tr(f"{folder} may not be written", f"{folder} 无写权限"), "export BUILD=/another/folder")
    if free < need:
        raise Missing(
            tr(
                f"{free / 2**30:.1f} GiB of {need / 2**30:.1f} GiB",
                f"{free / 2**30:.1f} GiB，需要 {need / 2**30:.1f} GiB",
            ),
            "export BUILD=/another/disk",
        )
    return f"{free / 2**30:.1f} GiB"


def gpu(values: Values) -> str:
    """GPU, driver and CUDA | 显卡、驱动与 CUDA"""
    import torch

    if not torch.cuda.is_available():
        if values.profile == "7b":
            raise Missing(tr("torch sees no CUDA GPU", "torch 找不到 CUDA 显卡"), "nvidia-smi; export PROFILE=tiny")
        return tr(f"none; the {values.profile} profile needs none", f"无；{values.profile} 不需要")
    total = torch.cuda.get_device_properties(0).total_memory
    if values.profile == "7b" and total < LEAST_GPU_MEMORY:
        raise Missing(
            tr(
                f"{total / 1e9:.0f} GB of {LEAST_GPU_MEMORY / 1e9:.0f} GB",
                f"显存 {total / 1e9:.0f} GB，需要 {LEAST_GPU_MEMORY / 1e9:.0f} GB",
            ),
            "export PROFILE=tiny",
        )
    name, driver = torch.cuda.get_device_name(0), driver_version() or "?"
    return f"{name}, {total / 1e9:.0f} GB, driver {driver}, CUDA {torch.version.cuda}"


def bitsandbytes_library(values: Values) -> str:
    """bitsandbytes' library for this machine | bitsandbytes 的本机库"""
    import torch
    from bitsandbytes import cextension

    library = cextension.lib
    if "Error" in type(library).__name__:
        raise Missing(tr("no library of it loads", "没有可用的库"), "python -m bitsandbytes")
    if values.profile == "7b" and torch.cuda.is_available() and not getattr(library, "compiled_with_cuda", False):
        raise Missing(
            tr("its CPU library was loaded on a machine with a GPU", "有显卡却加载了 CPU 库"), "python -m bitsandbytes"
        )
    cuda = sorted(
        p.stem.removeprefix("libbitsandbytes_cuda") for p in Path(cextension.__file__).parent.glob("*_cuda*.so")
    )
    return f"{type(library).__name__}; " + tr("CUDA libraries: ", "CUDA 库：") + ", ".join(cuda)


def nf4(values: Values) -> str:
    """a 4-bit (NF4) layer computes | 4 位（NF4）层能计算"""
    import torch
    from bitsandbytes.nn import Linear4bit

    device = "cuda" if values.profile != "tiny" and torch.cuda.is_available() else "cpu"
    layer = Linear4bit(64, 64, bias=False, quant_type="nf4", compute_dtype=torch.float32)
    exact = layer.weight.data.clone()
    layer = layer.to(device)
    x = torch.eye(64, device=device)
    error = (layer(x) - x @ exact.to(device).T).abs().max().item()
    # NF4 keeps a weight within about 15% of the largest in its block of 64; weights here are at most 1/8.
    if not 0 < error < 0.03:
        raise Missing(tr(f"wrong by {error:.3f}", f"误差 {error:.3f}"), "make setup")
    return tr(f"on {device}, largest error {error:.4f}", f"在 {device} 上，最大误差 {error:.4f}")


CHECKS: list[Check] = [
    python,
    versions,
    override,
    imports,
    list_cfg,
    processor,
    memory,
    disk,
    gpu,
    bitsandbytes_library,
    nf4,
]


@dataclass(frozen=True)
class Diagnosis:
    """What one check found, in the user's language; `remedy` is the command that mends it, None where all is well."""

    check: str
    title: str
    ok: bool
    found: str
    remedy: str | None = None


def examine_machine(values: Values) -> Iterator[Diagnosis]:
    """One diagnosis after another, each when its check is done; this process's environment becomes the trainer's."""
    os.environ.update(engine_environment(values))
    for check in CHECKS:
        name, title = check.__name__, title_of(check)
        try:
            yield Diagnosis(name, title, True, check(values))
        except Missing as missing:
            yield Diagnosis(name, title, False, str(missing), missing.remedy)
        except Exception as error:  # the doctor must report on a broken machine, not break with it
            yield Diagnosis(name, title, False, f"{type(error).__name__}: {error}", "make setup")


def lines_of(diagnosis: Diagnosis) -> list[str]:
    """A diagnosis for people: one line, and one with the remedy."""
    lines = [f"{'ok  ' if diagnosis.ok else 'FAIL'} {diagnosis.title}: {diagnosis.found}"]
    return lines if diagnosis.ok else [*lines, tr("     mend it with: ", "     修复方法：") + diagnosis.remedy]


def document_of(profile: str, diagnoses: list[Diagnosis]) -> dict:
    """All diagnoses for programs."""
    checks = [asdict(diagnosis) for diagnosis in diagnoses]
    return {"profile": profile, "ok": all(diagnosis.ok for diagnosis in diagnoses), "checks": checks}
