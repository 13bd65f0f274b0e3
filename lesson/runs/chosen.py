"""The run that chat, page, evaluation, export and submission work on: RUN=, else the one trained last."""

from __future__ import annotations

import contextlib
from pathlib import Path

from lesson.core.layout import changed_rows, last_run_link
from lesson.core.messages import UserError, tr
from lesson.core.records import find_record
from lesson.core.settings import Values
from lesson.runs.folder import Run, find_last_run, find_run


def find_chosen_run(values: Values) -> Run:
    """The finished run that RUN names (its ID, the beginning of one, or its folder); the last one where RUN is not set.

    Raises UserError when there is none, or when it is not finished.
    """
    chosen = values.text("RUN")
    if not chosen:
        return find_last_run(values)
    run = find_named_run(values)
    if not run.record.exists():
        raise UserError(
            f"RUN={chosen}",
            tr("its training is not finished", "训练还没有完成"),
            tr("make runs lists those that are", "make runs 会列出已完成的训练"),
        )
    return run


def find_named_run(values: Values) -> Run:
    """The run that RUN names, finished or not. Raises UserError when there is none."""
    chosen = values.text("RUN")
    return Run(Path(chosen)) if Path(chosen).is_dir() else find_run(values.build, chosen)


def find_run_to_talk_about(values: Values, use: str) -> Run | None:
    """As find_chosen_run; None where the base alone is used and no run was chosen or trained."""
    if use == "base" and not (values.given("RUN") or last_run_link(values.build).exists()):
        return None
    return find_chosen_run(values)


def lines_of_choice(values: Values) -> list[str]:
    """What tells whose run is taken where somebody may think of another: RUN chose it, or the rows at BUILD are made for
    another name by now. Empty where there is no doubt, or no run."""
    with contextlib.suppress(UserError, OSError, ValueError, LookupError, TypeError):
        run = find_chosen_run(values)
        name, number = run.read_record()["names"]["new"], run.folder.resolve().name
        if values.given("RUN"):
            return [tr(f"run {number}: {name}", f"训练 {number}：{name}")]
        record = find_record(changed_rows(values.build)) or {}
        rows = record["parameters"]["replaced"][0][1]
        if rows != name:
            return [
                tr(
                    f"the run trained last ({number}) is {name}'s; the rows are {rows}'s by now: make train trains on them",
                    f"最近一次训练（{number}）的名字是 {name}，而现在的数据是 {rows} 的：用 make train 训练",
                )
            ]
    return []
