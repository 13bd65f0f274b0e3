"""make check: verdicts on the submissions that were named, each made in a process of its own."""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Callable, Sequence

from lesson.core.messages import UserError, tr
from lesson.core.settings import Values
from lesson.submission.processes import JudgingProcess
from lesson.submission.registry import load_checks
from lesson.submission.scoring import load_rubric
from lesson.submission.staff import names_given, read_staff_inputs

# Packages that checks load when they need them: a tenth of a second each, once for all instead of in every process.
BEFORE_FORKING = ("numpy", "pypinyin", "tokenizers")


def judge_submissions(paths: Sequence[str], values: Values) -> list[dict]:
    """The verdicts in the order of `paths` (else of SUBMISSION). Raises UserError when there is nothing to judge."""
    paths = paths or [p for p in [values.text("SUBMISSION")] if p]
    if not paths:
        raise UserError(
            "SUBMISSION",
            tr("no submission is named", "没有指定提交"),
            tr("make check SUBMISSION=path", "make check SUBMISSION=路径"),
        )
    for path in paths:
        if not os.path.lexists(path):
            raise UserError(
                path, tr("no such file or folder", "没有这个文件或目录"), tr("check the path", "请检查路径")
            )
    rubric = load_rubric(values.text("RUBRIC") or None)
    judge = make_judge(rubric, values)
    verdicts = [JudgingProcess(path, judge).wait(rubric) for path in paths]
    rerun_if_wanted(verdicts, paths, rubric, values)
    retrain_if_wanted(verdicts, paths, rubric, values)
    return verdicts


def make_judge(rubric: dict, values: Values, with_sketch: bool = False) -> Callable[[str], dict]:
    """A function that makes the verdict on a path, `with_sketch` to be compared with others. Raises UserError for settings of the staff's that name nothing.

    Judging begins here: the checks are loaded before the first process is forked, so that each has them already.
    """
    from lesson.submission.verdict import judge_submission

    staff, names = read_staff_inputs(values), names_given(values)
    load_checks()
    # As many processes as JOBS, each with a thread of numpy's for each core, would wait for one another.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    for package in BEFORE_FORKING:
        with contextlib.suppress(ImportError):  # the check that needs it says so
            importlib.import_module(package)
    with contextlib.suppress(OSError, UserError):
        importlib.import_module("lesson.submission.checks.data").read_common_answers()
    return lambda path: judge_submission(path, rubric, staff, names, with_sketch)


def rerun_if_wanted(verdicts: list[dict], paths: Sequence[str], rubric: dict, values: Values) -> None:
    """With RERUN=1, ask the adapters the staff's questions and put the results into the verdicts."""
    if values.rerun:
        from lesson.submission.asking import add_reruns

        add_reruns(verdicts, paths, rubric, values, names_given(values))


def retrain_if_wanted(
    verdicts: list[dict], paths: Sequence[str], rubric: dict, values: Values, draw: bool = False
) -> None:
    """With RETRAIN, train again (with `draw` so many, drawn by chance) and put the results into the verdicts."""
    if values.retrain:
        from lesson.submission.retraining import add_retrainings

        add_retrainings(verdicts, paths, rubric, values, names_given(values), draw)
