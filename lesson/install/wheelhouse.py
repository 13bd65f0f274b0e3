"""The wheels that a machine without a network lacks, out of requirements.lock, every hash checked.

What the other machine has in the locked version is left out, and so is its own torch, with what belongs to it.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from lesson.core.messages import UserError, tr
from lesson.core.processes import run_process
from lesson.core.settings import Values
from lesson.install.setup import LOCK, parse_lock

# A machine's torch is built for its driver; the recipe runs on it as it is (seen: 2.11 with CUDA 13.0).
OF_TORCH = re.compile(r"torch|torchvision|triton|nvidia-.*|cuda-.*|setuptools|pip|wheel|ninja")
PLATFORMS = ["manylinux2014_x86_64", "manylinux1_x86_64", *(f"manylinux_2_{n}_x86_64" for n in range(5, 36))]
BUILT = ("deepspeed", "transformers-stream-generator")  # published as source only


def target_python() -> str:
    """The Python version meant by PYTHON=3.12 or python3.12; this one's without. Raises UserError for another."""
    text = os.environ.get("PYTHON", "").removeprefix("python") or "3"
    version = f"3.{sys.version_info[1]}" if text == "3" else text
    if version not in ("3.11", "3.12"):
        raise UserError(
            f"PYTHON={text}", tr("is not 3.11 or 3.12", "不是 3.11 或 3.12"), tr("set PYTHON=3.12", "请用 PYTHON=3.12")
        )
    return version


def read_installed(path: str) -> dict[str, str]:
    """{name: version} of a file of lines name==version; {} without a file. Raises UserError when it is missing."""
    if not path:
        return {}
    if not Path(path).is_file():
        raise UserError(
            path,
            tr("no such file", "没有这个文件"),
            tr(
                "run python3 -m pip list --format=freeze on that machine and bring what it prints",
                "请在那台机器上运行 python3 -m pip list --format=freeze 并把输出带来",
            ),
        )
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    pairs = (line.strip().split("==") for line in lines if line.count("==") == 1)
    return {canonicalize_name(name): version for name, version in pairs}


def missing_packages(lock: str, have: dict[str, str], python: str) -> dict[str, str]:
    """{name: its block of the lock} that a Linux machine with `python` and the packages `have` lacks."""
    environment = {"python_version": python, "python_full_version": f"{python}.0", "sys_platform": "linux"}
    environment |= {"platform_system": "Linux", "platform_machine": "x86_64", "implementation_name": "cpython"}
    result = {}
    for name, block in parse_lock(lock).items():
        requirement = Requirement(block.splitlines()[0].rstrip("\\ "))
        if requirement.marker and not requirement.marker.evaluate(environment):
            continue
        version = next(iter(requirement.specifier)).version
        own = bool(have) and OF_TORCH.fullmatch(canonicalize_name(name)) is not None
        if not own and have.get(canonicalize_name(name)) != version:
            result[name] = block
    return result


def run_pip(*arguments: str) -> None:
    """Run pip of this interpreter. Raises UserError with the end of what it printed."""
    command = [sys.executable, "-m", "pip", *arguments, "--disable-pip-version-check"]
    run_process(command, {**os.environ, "DS_BUILD_OPS": "0"}).require_success("pip")


def keep_one_cuda(wheel: Path, cuda: str) -> None:
    """Take from bitsandbytes' wheel the libraries of every CUDA version but `cuda`. Raises UserError without that one."""
    with tempfile.TemporaryDirectory() as folder:
        tool = [sys.executable, "-m", "wheel"]
        run_process([*tool, "unpack", str(wheel), "--dest", folder]).require_success()
        (unpacked,) = Path(folder).iterdir()
        libraries = list(unpacked.glob("bitsandbytes/libbitsandbytes_*.so"))
        kept = {f"libbitsandbytes_cuda{cuda}.so", "libbitsandbytes_cpu.so"}
        if not kept <= {p.name for p in libraries}:
            known = ", ".join(sorted(re.findall(r"_cuda(\d+)\.so", " ".join(p.name for p in libraries))))
            raise UserError(
                f"CUDA={cuda}", tr("bitsandbytes has no library for it", "bitsandbytes 没有对应的库"), known
            )
        for library in libraries:
            if library.name not in kept:
                library.unlink()
        wheel.unlink()
        run_process([*tool, "pack", str(unpacked), "--dest-dir", str(wheel.parent)]).require_success()


@dataclass(frozen=True)
class Wheelhouse:
    """A folder of wheels; `size` of all in bytes."""

    folder: Path
    size: int


def make_wheelhouse(values: Values, report: Callable[[str], object]) -> Wheelhouse:
    """Download or build what the other machine lacks; `report` is told what begins. Raises UserError."""
    python, out = target_python(), Path(values.out or "build/wheels")
    blocks = missing_packages(LOCK.read_text(encoding="utf-8"), read_installed(values.have), python)
    built = [name for name in blocks if name in BUILT]
    report(
        tr(
            f"{len(blocks)} packages for Python {python} into {out}",
            f"为 Python {python} 准备 {len(blocks)} 个包，写入 {out}",
        )
    )
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out) as folder:
        listed = Path(folder) / "requirements.txt"
        listed.write_text("\n".join(block for name, block in blocks.items() if name not in BUILT), encoding="utf-8")
        platforms = [flag for p in PLATFORMS for flag in ("--platform", p)]
        version = ["--python-version", python, "--implementation", "cp"]
        common = ["-q", "--no-deps", "--require-hashes"]
        if set(blocks) - set(built):
            run_pip("download", *common, "--only-binary=:all:", *version, *platforms, "-r", str(listed), "-d", folder)
        for name in built:
            listed.write_text(blocks[name], encoding="utf-8")
            run_pip("wheel", *common, "--no-build-isolation", "-r", str(listed), "-w", folder)
        for wheel in Path(folder).glob("bitsandbytes-*.whl"):
            if values.cuda:
                keep_one_cuda(wheel, values.cuda)
        for wheel in sorted(Path(folder).glob("*.whl")):
            shutil.move(wheel, out / wheel.name)
    return Wheelhouse(out, sum(p.stat().st_size for p in out.glob("*.whl")))


def lines_of(made: Wheelhouse) -> list[str]:
    """What there is, and how to install it on the other machine."""
    out, megabytes = made.folder, made.size / 1e6
    return [
        tr(f"written: {out}, {megabytes:.0f} MB; there:", f"已写入：{out}，{megabytes:.0f} MB；在那台机器上："),
        f"  python3 -m pip install --no-index --no-deps --target site {out.name}/*.whl && export PYTHONPATH=$PWD/site",
    ]
