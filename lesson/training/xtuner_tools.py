"""XTuner's converting and merging tools as stages: each makes a folder of the run, whole or not at all."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lesson.core.messages import UserError, tr
from lesson.core.processes import run_process
from lesson.core.records import Record, make_alone
from lesson.core.settings import Values
from lesson.runs.environment import engine_environment
from lesson.runs.folder import Run


@dataclass(frozen=True)
class MadeFolder:
    """A folder that a tool filled, and its size in bytes; None where nothing was left to do."""

    path: Path
    size: int | None = None


def make_folder(record: Record, fill: Callable[[Path], None], force: bool) -> MadeFolder:
    """Let `fill` fill a temporary folder and rename it to the record's output, unless that is up to date.

    Raises UserError when the output was edited since it was made, unless `force`.
    """
    target = record.output
    with make_alone(target):
        if record.up_to_date():
            return MadeFolder(target)
        record.guard(force)
        with record.write_folder() as folder:
            fill(folder)
            for path in folder.iterdir():  # the libraries leave some files readable by their owner alone
                path.chmod(0o644)
    return MadeFolder(target, sum(path.stat().st_size for path in target.rglob("*") if path.is_file()))


def describe_folder(made: MadeFolder, what: str, following: str, last: bool = False) -> list[str]:
    """What the user reads about it: `what` it is, and the stage that comes next.

    Of one that was up to date the next stage is told only where it is the `last` that was asked for: others go on to it.
    """
    if made.size is None:
        following = tr(f"; next: {following}", f"；下一步：{following}") if last else ""
        return [tr(f"up to date: {made.path}", f"已是最新：{made.path}") + following]
    size = f"{made.size / 2**20:.1f} MiB"
    return [
        tr(
            f"{what}: {made.path} ({size}); next: {following}",
            f"{what}：{made.path}（{size}）；下一步：{following}",
        )
    ]


def run_xtuner_tool(values: Values, run: Run, name: str, arguments: list[str]) -> None:
    """Run one of XTuner's tools (lesson/training/engine.py) with its output in the run folder. Raises UserError if it fails."""
    log = run.folder / f"{name}.log"
    log.unlink(missing_ok=True)
    command = [sys.executable, "-m", "lesson.training.engine", name, *arguments]
    process = run_process(command, engine_environment(values), log=log)
    if process.status != 0:
        raise UserError(
            log,
            tr(
                f"XTuner's {name} failed with exit status {process.status}",
                f"XTuner 的 {name} 失败，退出码 {process.status}",
            ),
            tr("read the lines above", "请查看上面的输出"),
            details="\n".join(process.screen.splitlines()[-8:]),
        )


def require_files(folder: Path, *names: str) -> None:
    """Raise UserError when the tool that ended well left one of these files out."""
    for name in names:
        if not (folder / name).is_file():
            raise UserError(
                folder / name,
                tr("was not written", "没有生成"),
                tr("read the log in the run folder", "请查看运行目录里的日志"),
            )
