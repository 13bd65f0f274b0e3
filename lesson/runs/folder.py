"""A training run as a folder: BUILD/runs/ID with all that belongs to it, ID being a hash of what went in.

    runs/ID/config.py     the config that was trained with          runs/ID/adapter/   make convert
    runs/ID/data.jsonl    the rows that were trained on             runs/ID/merged/    make merge
    runs/ID/work_dir/     XTuner's: checkpoints, logs, curve.jsonl  runs/ID/eval/      make eval
    runs/ID/run.json      the record (schemas/run.schema.json)      runs/ID/loss.png   the curve

Same config, data and base: same folder, so the same command resumes or is up to date. Anything else: another folder,
so that no run is ever overwritten. `BUILD/run` is a link to the run trained last.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lesson.core.files import remove_left_files, replace_link
from lesson.core.layout import last_run_link, runs_folder
from lesson.core.messages import UserError, tr
from lesson.core.schemas import read_document
from lesson.core.settings import PROFILES, Values


@dataclass(frozen=True)
class Run:
    """The paths of one run. `folder` is BUILD/runs/ID; `node` is the machine's number, each has a console of its own."""

    folder: Path
    node: int = 0

    config = property(lambda self: self.folder / "config.py")
    data = property(lambda self: self.folder / "data.jsonl")
    work_dir = property(lambda self: self.folder / "work_dir")
    record = property(lambda self: self.folder / "run.json")
    console = property(lambda self: self.folder / (f"console.{self.node}.log" if self.node else "console.log"))
    lock = property(lambda self: self.folder / (f".lock.{self.node}" if self.node else ".lock"))
    picture = property(lambda self: self.folder / "loss.png")
    adapter = property(lambda self: self.folder / "adapter")
    merged = property(lambda self: self.folder / "merged")
    evaluation = property(lambda self: self.folder / "eval")
    exports = property(lambda self: self.folder / "export")

    def read_record(self) -> dict:
        """The run record. Raises UserError when the run is not finished."""
        return read_document(self.record, "run", tr("run make train", "请先运行 make train"))


def make_run_id(inputs: Mapping[str, str], deepspeed: str | None, processes: int = 1) -> str:
    """12 hex digits of SHA-256 over what a run is made from.

    `inputs` are the SHA-256 of its config, data and base, as the record has them. DeepSpeed's config and the number of
    processes belong to it: they make the global batch, and a checkpoint is resumed by as many.
    """
    named = {**inputs, "deepspeed": deepspeed or ""}
    if processes > 1:
        named["processes"] = str(processes)
    text = "".join(f"{key}={value}\n" for key, value in sorted(named.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def set_last_run(build: Path, run: Run) -> None:
    """Make `BUILD/run` a link to `run`, atomically."""
    replace_link(last_run_link(build), run.folder.relative_to(build))


def find_last_run(values: Values) -> Run:
    """The finished run that BUILD/run points to. Raises UserError when there is none."""
    link = last_run_link(values.build)
    remedy = tr("run make train", "请先运行 make train")
    if not link.is_symlink() or not link.exists():
        raise UserError(link, tr("no training run yet", "还没有训练过"), _where_to_train(values) or remedy)
    run = Run(values.build / os.readlink(link))
    if not run.record.exists():
        raise UserError(run.folder, tr("its training is not finished", "训练还没有完成"), remedy)
    return run


def _where_to_train(values: Values) -> str | None:
    """What to do where BUILD follows the profile and another profile has a run; None where no other has."""
    for profile in () if values.given("BUILD") else PROFILES:
        other = Values({"PROFILE": profile}, {}).build
        if last_run_link(other).exists():
            return tr(
                f"run make train; or set PROFILE={profile}, where {other} has a run",
                f"请先运行 make train；或设 PROFILE={profile}，{other} 里有训练结果",
            )
    return None


def remove_left_parts(build: Path) -> None:
    """Remove the half adapters, models, exports and checkpoints that killed processes left in any run: gigabytes at 7B."""
    folder = runs_folder(build)
    for run in map(Run, folder.iterdir() if folder.is_dir() else ()):
        remove_left_files(run.folder)
        remove_left_files(run.work_dir)
        remove_left_files(run.exports)


def find_run(build: Path, text: str) -> Run:
    """The run below `build` whose ID begins with `text`. Raises UserError when there is none, or more than one."""
    folder = runs_folder(build)
    ids = sorted(p.name for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
    found = [name for name in ids if text and name.startswith(text)]
    if len(found) != 1:
        what = tr("no such run and no such file", "没有这个训练，也没有这个文件")
        if found:
            what = tr("is the beginning of ", "对应多个编号：") + ", ".join(found)
        raise UserError(repr(text), what, tr("make runs lists them", "make runs 可列出全部"))
    return Run(folder / found[0])
