"""The tiny base that ships in data/tiny-base, put where a stage wants it, with InternLM2's own code beside it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from pathlib import Path

from lesson.core.messages import UserError, tr
from lesson.core.settings import ROOT

SHIPPED = ROOT / "data" / "tiny-base"


CODE = ("configuration_internlm2.py", "modeling_internlm2.py")


def modelling_files() -> list[Path]:
    """InternLM2's configuration and modelling file in the installed xtuner, found without importing it."""
    found = importlib.util.find_spec("xtuner")
    for place in (found.submodule_search_locations or []) if found else []:
        files = [Path(place) / "_lite" / "modelings" / "internlm2" / name for name in CODE]
        if all(file.is_file() for file in files):
            return files
    raise UserError(
        "xtuner",
        tr("InternLM2's modelling files are not installed", "未安装 InternLM2 的建模文件"),
        tr("run make setup", "请运行 make setup"),
    )


def install_base(destination: Path) -> None:
    """Make `destination` a folder that AutoModelForCausalLM loads: the shipped base plus xtuner's modelling files.

    Written beside it first and renamed, so that it is there whole or not at all; what was there before is replaced.
    """
    _publish([*sorted(p for p in SHIPPED.iterdir() if p.is_file()), *modelling_files()], Path(destination))


def _publish(files: list[Path], destination: Path) -> None:
    destination.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=destination.parent, prefix=f".{destination.name}."))
    try:
        os.chmod(temporary, 0o755)
        for file in files:
            shutil.copyfile(file, temporary / file.name)
            with open(temporary / file.name, "rb") as copied:
                os.fsync(copied.fileno())
        _swap(temporary, destination)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _swap(temporary: Path, destination: Path) -> None:
    """Rename a finished folder to `destination`. Linux renames no folder onto a full one, so the old goes aside."""
    if destination.is_dir():
        aside = Path(tempfile.mkdtemp(dir=destination.parent, prefix=f".{destination.name}.old."))
        os.replace(destination, aside / "old")
        os.replace(temporary, destination)
        shutil.rmtree(aside)
    else:
        os.replace(temporary, destination)
