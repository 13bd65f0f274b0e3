"""A training from its inputs to its record: a session of XTuner's trainer in a process of its own.

The same call resumes a training that was stopped, and finds one that is finished.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from lesson.config.check import check_config_file
from lesson.config.context import config_context
from lesson.core.files import atomic, sha256, write_json
from lesson.core.layout import base_model, changed_rows, runs_folder
from lesson.core.locks import lock_output
from lesson.core.messages import UserError, tr
from lesson.core.settings import Values
from lesson.runs.checkpoint import is_whole
from lesson.runs.folder import Run, remove_left_parts, set_last_run
from lesson.runs.pictures import draw_loss_curve
from lesson.training.inputs import TrainingInputs, read_inputs, values_of_config
from lesson.training.launch import run_engine
from lesson.training.lock import lock_run
from lesson.training.progress import Display
from lesson.training.ranks import refuse_impossible_ranks
from lesson.training.record import make_record
from lesson.training.tracker import list_trackers

LEAST_FREE = {
    "tiny": 200 << 20,
    "small": 4 << 30,
    "7b": 8 << 30,
}  # bytes: two checkpoints with optimizer state, and the adapter


@dataclass(frozen=True)
class TrainedRun:
    """A run that is trained. `record` is None where another machine keeps it, and where nothing was left to do."""

    run: Run
    record: dict | None = None
    up_to_date: bool = False
    untracked: bool = False  # a tracker was asked for, and nothing is left to train

    @property
    def loss_fell(self) -> bool:
        """False when this session trained in vain: the loss ended no lower than it began."""
        return self.record is None or self.record["loss"]["last"] < self.record["loss"]["first"]


def train_adapter(values: Values, display: Display) -> TrainedRun:
    """Train what the config names, to its end.

    Raises UserError for inputs that are missing or could not be trained, and when the trainer fails.
    """
    # Nobody makes other rows or another base while they are read; the trainer has read them at its first step.
    with contextlib.ExitStack() as reading:
        for output in (changed_rows(values.build), base_model(values.build)):
            reading.enter_context(lock_output(output, shared=True))
        return _train_adapter(values, display, reading.close)


def _train_adapter(values: Values, display: Display, end_reading: Callable[[], None]) -> TrainedRun:
    values = values_of_config(values)
    inputs = read_inputs(values)
    run = Run(runs_folder(values.build) / inputs.run_id, values.node_rank)
    if run.record.exists() and is_finished(run):
        set_last_run(values.build, run)
        return TrainedRun(run, up_to_date=True, untracked=bool(list_trackers(values)))
    refuse_impossible_ranks(values, inputs.summary, inputs.config, inputs.deepspeed)
    refuse_wrong_config(inputs.config, values, display)
    run.work_dir.mkdir(parents=True, exist_ok=True)
    remove_left_parts(values.build)
    refuse_full_disk(run.folder, values.profile)
    with lock_run(run):
        keep_inputs(run, inputs)
        work = run_engine(values, run, inputs, replace(display, on_step=end_reading))
        if run.node:
            return TrainedRun(run)
        record = make_record(values, run, inputs, work)
        draw_loss_curve(record["curve"], run.picture, values)
        write_json(run.record, record)  # last: what it belongs to is there
        set_last_run(values.build, run)
    return TrainedRun(run, record)


def lines_of(trained: TrainedRun) -> list[str]:
    """What the user reads about it."""
    run, record = trained.run, trained.record
    if trained.up_to_date:
        late = tr(
            "a tracker writes while a run trains, and this one is finished: make train SEED=43 with it trains another",
            "记录工具只在训练时写出，而这次训练已完成：加上它运行 make train SEED=43 会训练另一个",
        )
        return [
            tr(
                f"up to date: this config, data and base are trained: {run.folder}",
                f"已是最新：{run.folder} 已训练完成",
            ),
            *([late] if trained.untracked else []),
        ]
    if record is None:
        return [tr(f"node {run.node}: done; node 0 keeps the record", f"{run.node} 号机器：完成；记录由 0 号机器保存")]
    first, last = record["loss"]["first"], record["loss"]["last"]
    seconds, host = record["seconds"]["wall"], record["peak_memory"]["host"]
    lines = [
        tr(
            f"trained {record['steps']} steps in {seconds:.0f} s, loss {first:.3f} → {last:.3f}, peak memory {host / 2**30:.2f} GiB",
            f"训练 {record['steps']} 步，用时 {seconds:.0f} 秒，损失 {first:.3f} → {last:.3f}，内存峰值 {host / 2**30:.2f} GiB",
        ),
        tr(
            f"run: {run.folder}  record: {run.record.name}  curve: {run.picture.name}",
            f"结果：{run.folder}  记录：{run.record.name}  曲线：{run.picture.name}",
        ),
    ]
    if trained.loss_fell:
        lines.append(tr("next: make eval, make chat, make web", "下一步：make eval、make chat、make web"))
    return lines


def warnings_of(trained: TrainedRun) -> list[str]:
    """What is wrong with it although it is finished."""
    if trained.loss_fell:
        return []
    return [
        tr(
            "the loss did not fall: the assistant learned nothing; check data and learning rate",
            "损失没有下降：没有学到东西，请检查数据和学习率",
        )
    ]


def refuse_wrong_config(source: Path, values: Values, display: Display) -> None:
    """Show what make check-config finds in the config; raise UserError on the first error: training would be in vain."""
    verdict = check_config_file(source, config_context(values, True, None))
    for finding in verdict.findings:
        display.warn(str(finding))
    for finding in verdict.findings:
        if finding.severity == "error":
            raise UserError(f"{finding.file}:{finding.line}", f"{finding.found}; {finding.why}", finding.remedy)


def refuse_full_disk(folder: Path, profile: str) -> None:
    free = shutil.disk_usage(folder).free
    if free < LEAST_FREE[profile]:
        raise UserError(
            folder,
            tr(
                f"{free >> 20} MiB free, {LEAST_FREE[profile] >> 20} MiB needed",
                f"剩余 {free >> 20} MiB，需要 {LEAST_FREE[profile] >> 20} MiB",
            ),
            tr("free some disk space or set BUILD to another disk", "请清理磁盘，或把 BUILD 设到别的磁盘"),
        )


def keep_inputs(run: Run, inputs: TrainingInputs) -> None:
    """Copy config and rows into the run folder: what was trained on stays readable after the next make data."""
    for path, kept in ((inputs.config, run.config), (inputs.data, run.data)):
        with atomic(kept, "wb") as file:
            file.write(path.read_bytes())


def is_finished(run: Run) -> bool:
    """True when the record's checkpoint is there, byte for byte."""
    record = run.read_record()
    path = run.folder / record["checkpoint"]["path"]
    return is_whole(path) and (path.is_dir() or sha256(path) == record["checkpoint"]["sha256"])
