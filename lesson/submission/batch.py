"""make check-all: verdicts on a folder full of submissions, several at a time, and who handed in the same."""

from __future__ import annotations

import collections
import multiprocessing.connection
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

from lesson.core.messages import UserError, tr
from lesson.core.settings import Values
from lesson.submission.copies import mark_copies
from lesson.submission.judging import make_judge, rerun_if_wanted, retrain_if_wanted
from lesson.submission.processes import LONGEST, JudgingProcess
from lesson.submission.registry import FAILED
from lesson.submission.reports.wording import score, visible
from lesson.submission.scoring import deciding_checks, load_rubric


def judge_folder(values: Values, progress: TextIO) -> list[dict]:
    """The verdicts on all in the folder DIR; a bar goes to `progress`. Raises UserError when nothing can be judged."""
    folder = values.text("DIR")
    if not folder:
        raise UserError("DIR", tr("no folder is named", "没有指定目录"), "make check-all DIR=…")
    paths, rubric = list_submissions(Path(folder)), load_rubric(values.text("RUBRIC") or None)
    verdicts = judge_all(paths, values.jobs, rubric, make_judge(rubric, values, with_sketch=True), progress)
    rerun_if_wanted(verdicts, paths, rubric, values)
    retrain_if_wanted(verdicts, paths, rubric, values, draw=True)
    mark_copies(verdicts, rubric)
    return verdicts


def list_submissions(folder: Path) -> list[str]:
    """The entries of the folder, in order: each file or folder is one submission. Raises UserError."""
    remedy = tr("set DIR to the folder of submissions", "请把 DIR 设为存放提交的目录")
    if not folder.is_dir():
        raise UserError(folder, tr("not a folder", "不是目录"), remedy)
    found = sorted(os.path.join(folder, name) for name in os.listdir(folder) if not name.startswith("."))
    if not found:
        raise UserError(folder, tr("no submission in it", "里面没有提交"), remedy)
    return found


def judge_all(
    paths: Sequence[str],
    jobs: int,
    rubric: dict,
    judge: Callable[[str], dict],
    progress: TextIO,
    seconds: float = LONGEST,
) -> list[dict]:
    """The verdicts in the order of `paths`; `jobs` processes at a time, one for each submission."""
    waiting = collections.deque(enumerate(paths))
    running: dict[int, JudgingProcess] = {}
    verdicts: dict[int, dict] = {}
    quiet = not progress.isatty()
    with tqdm(total=len(paths), unit="submission", disable=quiet, dynamic_ncols=True, file=progress) as bar:
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    index, path = waiting.popleft()
                    running[index] = JudgingProcess(path, judge, seconds)
                multiprocessing.connection.wait([process.receiver for process in running.values()], timeout=0.5)
                for index, process in list(running.items()):
                    if (verdict := process.poll(rubric)) is not None:
                        verdicts[index] = verdict
                        del running[index]
                        bar.update()
        finally:
            for process in running.values():
                process.stop()
    return [verdicts[index] for index in range(len(paths))]


def table_lines(verdicts: Sequence[dict]) -> list[str]:
    """For people: a line for each submission, their count, and how many fail each check."""
    lines = []
    width = min(40, max(len(Path(v["submission"]).name) for v in verdicts))
    for verdict in verdicts:
        missed = [] if verdict["passed"] else deciding_checks(verdict)  # a required one may be skipped
        wrong = [r["check"] for r in verdict["checks"] if r["status"] in ("failed", "unjudged") or r in missed]
        mark = {True: "ok  ", False: "FAIL", None: "?   "}[verdict["passed"]]
        name = visible(Path(verdict["submission"]).name)[:width]
        who = visible(verdict["who"] or "")[:20]
        lines.append(f"{mark} {name:<{width}}  {score(verdict):>9}  {who}  {', '.join(wrong)}".rstrip())
    count = collections.Counter(v["passed"] for v in verdicts)
    lines.append(
        tr(
            f"{len(verdicts)} submissions: {count[True]} passed, {count[False]} not, {count[None]} not judged",
            f"共 {len(verdicts)} 份：{count[True]} 份通过，{count[False]} 份未通过，{count[None]} 份无法判断",
        )
    )
    if drawn := [v for v in verdicts if v["retrain"]]:
        names = ", ".join(visible(Path(v["submission"]).name) for v in drawn)
        seed = drawn[0]["retrain"]["seed"]
        lines.append(tr(f"trained again, drawn by DRAW={seed}: {names}", f"重新训练（DRAW={seed} 抽出）：{names}"))
    failed = collections.Counter(r["check"] for v in verdicts for r in v["checks"] if r["status"] == FAILED)
    return [*lines, *(f"  {number:>5}  {name}" for name, number in failed.most_common())]
