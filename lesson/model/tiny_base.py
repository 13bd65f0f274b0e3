"""The tiny base that ships in data/tiny-base, put where a stage wants it, with InternLM2's own code beside it."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

from lesson.core.files import atomic_folder
from lesson.core.messages import UserError, tr
from lesson.core.settings import ROOT

SHIPPED = ROOT / "data" / "tiny-base"
# Of the folder that install_base makes, as run records have it: a run on a base of before is known by another one.
SHIPPED_HASH = "552c24813c96d99a67fc4e92dcf6f76a99cb8a439d7ae792e8370a99a1dd1cd4"
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
    copy_files(base_files(), Path(destination))


def base_files() -> list[Path]:
    """The files that make a folder which AutoModelForCausalLM loads. Raises UserError where XTuner is not installed."""
    return [*sorted(p for p in SHIPPED.iterdir() if p.is_file()), *modelling_files()]


def copy_files(files: list[Path], destination: Path) -> None:
    """Make `destination` a folder of copies of `files`, there whole or not at all."""
    with atomic_folder(destination) as folder:
        fill_folder(folder, files)


def fill_folder(folder: Path, files: list[Path]) -> None:
    """Copy `files` into `folder`."""
    for file in files:
        shutil.copyfile(file, folder / file.name)
