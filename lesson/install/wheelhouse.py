"""make wheelhouse: the wheels that a machine without a network lacks, out of requirements.lock, every hash checked.

    make wheelhouse PYTHON=3.12 HAVE=there.txt OUT=wheels CUDA=130

HAVE is what `python3 -m pip list --format=freeze` prints on that machine: what it has in the locked version is left
out, and so is its own torch, with what belongs to it. CUDA keeps, of the libraries in bitsandbytes' wheel, that of one
CUDA version and the CPU's (60 MB to 7). The end line says how to install there.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from lesson.core import cli
from lesson.core.messages import UserError, tr
from lesson.core.settings import Values
from lesson.install.setup import LOCK, packages

SETTINGS = ["HAVE", "OUT", "CUDA"]
# A machine's torch is built for its driver; the recipe runs on it as it is (seen: 2.11 with CUDA 13.0).
OF_TORCH = re.compile(r"torch|torchvision|triton|nvidia-.*|cuda-.*|setuptools|pip|wheel|ninja")
PLATFORMS = ["manylinux2014_x86_64", "manylinux1_x86_64", *(f"manylinux_2_{n}_x86_64" for n in range(5, 36))]
BUILT = ("deepspeed", "transformers-stream-generator")  # published as source only


def target() -> str:
    """The Python version meant by PYTHON=3.12 or python3.12; this one's without. Raises UserError for another."""
    text = os.environ.get("PYTHON", "").removeprefix("python") or "3"
    version = f"3.{sys.version_info[1]}" if text == "3" else text
    if version not in ("3.11", "3.12"):
        raise UserError(
            f"PYTHON={text}", tr("is not 3.11 or 3.12", "不是 3.11 或 3.12"), tr("set PYTHON=3.12", "请用 PYTHON=3.12")
        )
    return version


def there(path: str) -> dict[str, str]:
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


def missing(lock: str, have: dict[str, str], python: str) -> dict[str, str]:
    """{name: its block of the lock} that a Linux machine with `python` and the packages `have` lacks."""
    environment = {"python_version": python, "python_full_version": f"{python}.0", "sys_platform": "linux"}
    environment |= {"platform_system": "Linux", "platform_machine": "x86_64", "implementation_name": "cpython"}
    result = {}
    for name, block in packages(lock).items():
        requirement = Requirement(block.splitlines()[0].rstrip("\\ "))
        if requirement.marker and not requirement.marker.evaluate(environment):
            continue
        version = next(iter(requirement.specifier)).version
        own = bool(have) and OF_TORCH.fullmatch(canonicalize_name(name)) is not None
        if not own and have.get(canonicalize_name(name)) != version:
            result[name] = block
    return result


def pip(*arguments: str) -> None:
    """Run pip of this interpreter. Raises UserError with its last lines."""
    command = [sys.executable, "-m", "pip", *arguments, "--disable-pip-version-check"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "DS_BUILD_OPS": "0"})
    if done.returncode:
        print((done.stdout + done.stderr)[-2000:], file=sys.stderr)
        raise UserError("pip", tr("failed", "失败"), tr("read the lines above", "请查看上面的输出"))


def slim(wheel: Path, cuda: str) -> None:
    """Take from bitsandbytes' wheel the libraries of every CUDA version but `cuda`. Raises UserError without that one."""
    with tempfile.TemporaryDirectory() as folder:
        tool = [sys.executable, "-m", "wheel"]
        subprocess.run([*tool, "unpack", str(wheel), "--dest", folder], check=True, stdout=subprocess.DEVNULL)
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
        subprocess.run(
            [*tool, "pack", str(unpacked), "--dest-dir", str(wheel.parent)], check=True, stdout=subprocess.DEVNULL
        )


def wheelhouse(values: Values) -> int:
    python, out = target(), Path(values.out or "build/wheels")
    blocks = missing(LOCK.read_text(encoding="utf-8"), there(values.have), python)
    built = [name for name in blocks if name in BUILT]
    print(
        tr(
            f"{len(blocks)} packages for Python {python} into {out}",
            f"为 Python {python} 准备 {len(blocks)} 个包，写入 {out}",
        ),
        flush=True,
    )
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out) as folder:
        listed = Path(folder) / "requirements.txt"
        listed.write_text("\n".join(block for name, block in blocks.items() if name not in BUILT), encoding="utf-8")
        platforms = [flag for p in PLATFORMS for flag in ("--platform", p)]
        version = ["--python-version", python, "--implementation", "cp"]
        common = ["-q", "--no-deps", "--require-hashes"]
        if set(blocks) - set(built):
            pip("download", *common, "--only-binary=:all:", *version, *platforms, "-r", str(listed), "-d", folder)
        for name in built:
            listed.write_text(blocks[name], encoding="utf-8")
            pip("wheel", *common, "--no-build-isolation", "-r", str(listed), "-w", folder)
        for wheel in Path(folder).glob("bitsandbytes-*.whl"):
            if values.cuda:
                slim(wheel, values.cuda)
        for wheel in sorted(Path(folder).glob("*.whl")):
            shutil.move(wheel, out / wheel.name)
    size = sum(p.stat().st_size for p in out.glob("*.whl"))
    print(tr(f"written: {out}, {size / 1e6:.0f} MB; there:", f"已写入：{out}，{size / 1e6:.0f} MB；在那台机器上："))
    print(
        f"  python3 -m pip install --no-index --no-deps --target site {out.name}/*.whl && export PYTHONPATH=$PWD/site"
    )
    return 0


def main(arguments: list[str] | None = None) -> int:
    return cli.run("wheelhouse", __doc__, SETTINGS, wheelhouse, sys.argv[1:] if arguments is None else arguments)
