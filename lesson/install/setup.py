"""A venv from a lock, every hash checked. Standard library only: it runs before the venv is.

The full one takes two steps, because DeepSpeed is built here: first the build tools, then everything, without build
isolation (which would fetch unpinned tools) and without dependency resolution (the lock is complete, and overrides one
pin of XTuner's).
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from lesson.core.messages import UserError, tr
from lesson.core.settings import ROOT

LOCK = ROOT / "requirements.lock"
CHECK_LOCK = ROOT / "requirements-check.lock"
MUTANTS_LOCK = ROOT / "requirements-mutants.lock"
EXPORT_LOCK = ROOT / "requirements-export.lock"
QUANTISER = ROOT / "lesson" / "export" / "quantiser"  # package.json and package-lock.json of llama.cpp's library
BUILD_TOOLS = ("packaging", "setuptools", "wheel")
PYTHONS = ((3, 11), (3, 12))
KEPT_LINES = 30  # of pip's output, shown when it fails


@dataclass(frozen=True)
class Plan:
    """One installation: what from, where to (a variable and its default), the bytes of disk it needs, what is next."""

    lock: Path
    variable: str
    venv: str
    least_free: int
    size: tuple[str, str]  # in words, English and Chinese
    following: str
    builds: bool  # something is built here, with the build tools of the lock
    below: str = ""  # variable of the venv that this one looks into for what it does not have itself
    node_modules: Path | None = None  # folder of a package-lock.json that npm installs too, where there is an npm


PLANS = {
    # 6.8 GiB installed, most of it CUDA's libraries in torch's wheel, and room to unpack.
    "all": Plan(
        LOCK,
        "VENV",
        ".venv",
        9 << 30,
        ("about 6.8 GiB on disk, 3 GiB to download", "占用约 6.8 GiB，下载约 3 GiB"),
        "make data && make train",
        True,
    ),
    "check": Plan(
        CHECK_LOCK,
        "CHECK_VENV",
        ".venv-check",
        300 << 20,
        ("about 150 MiB on disk, 35 MiB to download", "占用约 150 MiB，下载约 35 MiB"),
        "make check SUBMISSION=…",
        False,
    ),
    "mutants": Plan(
        MUTANTS_LOCK,
        "MUTANTS_VENV",
        ".venv-mutants",
        300 << 20,
        ("about 90 MiB on disk", "占用约 90 MiB"),
        "make mutants",
        False,
    ),
    "export": Plan(
        EXPORT_LOCK,
        "EXPORT_VENV",
        ".venv-export",
        700 << 20,
        ("about 350 MiB on disk, 80 MiB to download", "占用约 350 MiB，下载约 80 MiB"),
        "make export FORMAT=gguf",
        False,
        "VENV",
        QUANTISER,
    ),
}


@dataclass(frozen=True)
class InstalledVenv:
    """A venv that has all of its plan's lock; `size` in bytes, None when it was there already."""

    plan: Plan
    venv: Path
    size: int | None


def install_venv(plan: Plan, out: TextIO) -> InstalledVenv:
    """The venv of `plan`, made or completed; progress goes to `out`. Raises UserError.

    It is up to date when a stamp in it, written last, holds the lock's hash.
    """
    venv = Path(os.environ.get(plan.variable) or plan.venv)
    lock = hashlib.sha256(plan.lock.read_bytes()).hexdigest()
    stamp = venv / f"{plan.lock.name}.sha256"
    if stamp.is_file() and stamp.read_text().strip() == lock and (venv / "bin" / "python").exists():
        return InstalledVenv(plan, venv, None)
    require_python()
    venv.parent.mkdir(parents=True, exist_ok=True)
    if not venv.exists():
        require_disk_space(plan, venv.parent)
    blocks = choose_packages(plan)
    print(
        tr(
            f"installing {len(blocks)} packages into {venv}, hashes checked; {tr(*plan.size)}",
            f"将 {len(blocks)} 个软件包装入 {venv}，逐一校验哈希；{tr(*plan.size)}",
        ),
        file=out,
        flush=True,
    )
    stamp.unlink(missing_ok=True)
    if plan.below:
        look_below(plan, venv, out)
    else:
        run_step([sys.executable, "-m", "venv", str(venv)], venv, 0, out)
    if plan.builds:
        install_packages(venv, {name: blocks[name] for name in BUILD_TOOLS}, [], out)
        install_packages(venv, blocks, ["--no-build-isolation"], out)
    else:
        # What an older lock had may have written over files of what this one has: then all of it is installed again.
        again = ["--force-reinstall"] if plan.below and remove_left_packages(venv, set(blocks), out) else []
        install_packages(venv, blocks, ["--only-binary=:all:", *again], out)
    if plan.node_modules:
        install_node_modules(plan.node_modules, venv, out)
    size = sum(path.lstat().st_size for path in venv.rglob("*"))
    stamp.write_text(lock + "\n")
    return InstalledVenv(plan, venv, size)


def lines_of(installed: InstalledVenv) -> list[str]:
    """What is there now, and what is next."""
    plan, venv, size = installed.plan, installed.venv, installed.size
    if size is None:
        return [
            tr(f"up to date: {venv} has everything in {plan.lock.name}", f"已是最新：{venv} 与 {plan.lock.name} 一致")
        ]
    return [
        tr(
            f"done: {venv}, {size / 2**30:.1f} GiB; next: {plan.following}",
            f"完成：{venv}，{size / 2**30:.1f} GiB；下一步：{plan.following}",
        )
    ]


def choose_packages(plan: Plan) -> dict[str, str]:
    """{name: its lines in the lock} of what the venv of `plan` needs for itself: where it looks into the one below, only
    what requirements.lock has not, or in another version."""
    blocks = parse_lock(plan.lock.read_text(encoding="utf-8"))
    if not plan.below:
        return blocks
    pins = {name: first_pin(text) for name, text in parse_lock(LOCK.read_text(encoding="utf-8")).items()}
    return {name: text for name, text in blocks.items() if pins.get(name) != first_pin(text)}


def look_below(plan: Plan, venv: Path, out: TextIO) -> None:
    """Make the empty `venv` and let it look into the venv below it. Raises UserError when there is none below."""
    below = Path(os.environ.get(plan.below) or PLANS["all"].venv)
    python = below / "bin" / "python"
    if not python.exists():
        raise UserError(python, tr("no such file", "没有这个文件"), tr("run make setup", "请先运行 make setup"))
    run_step([str(python), "-m", "venv", str(venv)], venv, 0, out)
    places = 'import sysconfig; print(sysconfig.get_path("purelib"))'
    there, own = (
        subprocess.run([str(v / "bin" / "python"), "-c", places], capture_output=True, text=True, check=True).stdout
        for v in (below, venv)
    )
    # Python reads this file after the venv's own packages, which so win over those below.
    (Path(own.strip()) / "below.pth").write_text(there)


def remove_left_packages(venv: Path, kept: set[str], out: TextIO) -> list[str]:
    """Uninstall from the venv what is none of `kept` (names as in a lock), pip itself excepted; the names of it."""
    found = {
        path.name.split("-")[0].lower().replace("_", "-") for path in venv.glob("lib/python*/site-packages/*-info")
    }
    left = sorted(found - kept - {"pip", "setuptools"})
    if left:
        print(tr(f"removing {', '.join(left)}: no longer needed", f"移除不再需要的 {', '.join(left)}"), file=out)
        run_step([str(venv / "bin" / "python"), "-m", "pip", "uninstall", "-y", "-q", *left], venv, 0, out)
    return left


def first_pin(block: str) -> str:
    """`name==version` that begins the lines of one package."""
    return block.split(" ")[0].strip()


def install_node_modules(folder: Path, venv: Path, out: TextIO) -> None:
    """Install what the package-lock.json in `folder` pins into the venv, hashes checked, no script of a package run.

    Without npm nothing is installed: make export says then what FORMAT=gguf QUANT=q4_k_m needs.
    """
    npm = shutil.which("npm")
    if not npm:
        print(
            tr(
                "no npm here: QUANT=q4_k_m will need LLAMA_CPP=, a folder with llama-quantize",
                "没有 npm：QUANT=q4_k_m 需要用 LLAMA_CPP= 指定含 llama-quantize 的目录",
            ),
            file=out,
        )
        return
    target = venv / "llama.cpp"
    target.mkdir(exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(folder / name, target / name)
    run_step([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(target)], venv, 0, out)


def require_python() -> None:
    """Raise UserError when this Python is none that the lock serves."""
    version = sys.version_info[:2]
    if version not in PYTHONS:
        known = tr(" or ", " 或 ").join(f"{a}.{b}" for a, b in PYTHONS)
        raise UserError(
            sys.executable,
            tr(
                f"is Python {version[0]}.{version[1]}; needed is {known}",
                f"是 Python {version[0]}.{version[1]}，需要 {known}",
            ),
            tr("install one and run make setup PYTHON=python3.11", "请安装后运行 make setup PYTHON=python3.11"),
        )


def require_disk_space(plan: Plan, folder: Path) -> None:
    """Raise UserError when the disk of `folder` has no room for the venv of `plan`."""
    free = shutil.disk_usage(folder).free
    if free < plan.least_free:
        raise UserError(
            folder.resolve(),
            tr(
                f"{free / 2**30:.1f} GiB free, {plan.least_free / 2**30:.1f} GiB needed",
                f"剩余 {free / 2**30:.1f} GiB，需要 {plan.least_free / 2**30:.1f} GiB",
            ),
            tr(
                f"free some disk space or set {plan.variable} to another disk",
                f"请清理磁盘，或把 {plan.variable} 设到别的磁盘",
            ),
        )


def parse_lock(lock: str) -> dict[str, str]:
    """{name: its lines with version and hashes} of a lock in pip's format."""
    blocks: dict[str, str] = {}
    name = None
    for line in lock.splitlines(keepends=True):
        if line[:1].isalnum():
            name = line.split("==")[0].split("[")[0].strip().lower()
            blocks[name] = line
        elif name and not line.lstrip().startswith("#"):
            blocks[name] += line
    return blocks


def install_packages(venv: Path, blocks: dict[str, str], options: list[str], out: TextIO) -> None:
    """Install the packages of `blocks` ({name: lines of a lock}) into the venv with its own pip. Raises UserError."""
    command = [str(venv / "bin" / "python"), "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
    with tempfile.NamedTemporaryFile("w", suffix=".lock") as lock:
        lock.write("".join(blocks.values()))
        lock.flush()
        run_step([*command, "--require-hashes", "--no-deps", *options, "-r", lock.name], venv, len(blocks), out)


def run_step(command: list[str], venv: Path, total: int, out: TextIO) -> None:
    """Run `command`, one line of progress per package on a terminal, every 20th elsewhere. Raises UserError."""
    # DeepSpeed would compile its CUDA operators now; the recipe uses none of them.
    environment = {**os.environ, "DS_BUILD_OPS": "0", "PYTHONUTF8": "1"}
    seen, lines, terminal = 0, [], out.isatty()
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for line in process.stdout:
            lines = [*lines[-KEPT_LINES:], line.rstrip()]
            if package := package_of(line):
                seen += 1
                if terminal:
                    print(f"\r\033[K[{seen}/{total}] {package}", end="", file=out, flush=True)
                elif seen % 20 == 0:
                    print(f"[{seen}/{total}] {package}", file=out, flush=True)
            elif line.startswith(("Building wheel", "Installing collected")):
                print(("\r\033[K" if terminal else "") + line.split(":")[0].strip() + " …", file=out, flush=True)
    if terminal and total:
        print(file=out)
    if process.returncode:
        raise UserError(
            venv,
            tr(
                f"the installation failed with exit status {process.returncode}",
                f"安装失败，退出码 {process.returncode}",
            ),
            tr(
                "read the lines above; the same command goes on (network? disk?)",
                "请查看上面的输出；再次运行同一命令可继续（网络？磁盘？）",
            ),
            details="\n".join(lines),
        )


def package_of(line: str) -> str:
    """The package that a line of pip's output begins with: `Collecting numpy==2.1` and the like; "" on other lines."""
    for start in ("Collecting ", "Requirement already satisfied: "):
        if line.startswith(start):
            return re.split(r"==| in |\(", line.removeprefix(start))[0].strip()
    return ""
