"""make check-all: verdicts on a folder full of submissions, each in a process of its own, and who handed in the same.

    python -m recipe.check_all DIR [--jobs 2] [--report all.csv,all.json,all.html]

One that takes too long, too much memory or crashes the checker is reported as not judged, and the others go on.
Exit status: 0 all passed, 1 some did not, 2 when there is nothing to check.
"""

from __future__ import annotations

import collections
import multiprocessing.connection
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from lesson.core import cli
from lesson.core.messages import UserError, tr
from lesson.core.settings import Values
from lesson.submission import reports, rerun
from lesson.submission import scoring as check
from lesson.submission.judging import LONGEST, Child, context_of, judge_submission, names_of
from lesson.submission.registry import FAILED

SETTINGS = [
    "DIR",
    "JOBS",
    "RUBRIC",
    "SOURCE",
    "PUBLISHED",
    "REPORT",
    "NEW_NAME",
    "OLD_NAME",
    "RERUN",
    "BUILD",
    "MODEL",
    "QUESTIONS",
]


def submissions(folder: Path) -> list[str]:
    """The entries of the folder, in order: each file or folder is one submission. Raises UserError."""
    remedy = tr("set DIR to the folder of submissions", "请把 DIR 设为存放提交的目录")
    if not folder.is_dir():
        raise UserError(folder, tr("not a folder", "不是目录"), remedy)
    found = sorted(os.path.join(folder, name) for name in os.listdir(folder) if not name.startswith("."))
    if not found:
        raise UserError(folder, tr("no submission in it", "里面没有提交"), remedy)
    return found


def judge_all(paths: Sequence[str], jobs: int, rules: dict, judge_it, seconds: float = LONGEST) -> list[dict]:
    """The verdicts in the order of `paths`; `jobs` processes at a time, one for each submission."""
    waiting = collections.deque(enumerate(paths))
    running: dict[int, Child] = {}
    verdicts: dict[int, dict] = {}
    with tqdm(total=len(paths), unit="submission", disable=not sys.stderr.isatty(), dynamic_ncols=True) as bar:
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    index, path = waiting.popleft()
                    running[index] = Child(path, judge_it, seconds)
                multiprocessing.connection.wait([child.receiver for child in running.values()], timeout=0.5)
                for index, child in list(running.items()):
                    if (found := child.result(rules)) is not None:
                        verdicts[index] = found
                        del running[index]
                        bar.update()
        finally:
            for child in running.values():
                child.stop()
    return [verdicts[index] for index in range(len(paths))]


def mark_copies(verdicts: Sequence[dict], rules: dict) -> None:
    """Fail the check `own` of submissions that share an adapter, a log or answers.

    The tiny profile repeats itself to the bit: who trained the same config on the same rows has the same adapter and
    answers by right. The same log, with its times, has only who copied it.
    """
    groups: dict[tuple[str, str], list[dict]] = collections.defaultdict(list)
    for verdict in verdicts:
        for kind in ("adapter", "log", "answers"):
            if digest := verdict["fingerprints"].get(kind):
                groups[kind, digest].append(verdict)
    same: dict[int, set[str]] = collections.defaultdict(set)
    for (kind, _), group in sorted(groups.items()):
        for verdict in group:
            for other in group:
                inputs = [v["fingerprints"].get("inputs") for v in (verdict, other)]
                by_right = kind != "log" and inputs[0] is not None and inputs[0] == inputs[1]
                if other is not verdict and not by_right:
                    same[id(verdict)].add(f"{kind} = {other['submission']}")
    for verdict in verdicts:
        if id(verdict) in same:
            places = sorted(same[id(verdict)])
            result = next(r for r in verdict["checks"] if r["check"] == "own")
            result |= {
                "status": FAILED,
                "places": places[:20],
                "remedy": tr("hand in your own work", "请提交自己的成果"),
            }
            result["found"] = tr("the same, byte for byte: ", "逐字节相同：") + places[0]
            check.score(verdict, rules)


def print_table(verdicts: Sequence[dict]) -> None:
    width = min(40, max(len(Path(v["submission"]).name) for v in verdicts))
    for verdict in verdicts:
        wrong = [r["check"] for r in verdict["checks"] if r["status"] in ("failed", "unjudged")]
        mark = {True: "ok  ", False: "FAIL", None: "?   "}[verdict["passed"]]
        name = reports.visible(Path(verdict["submission"]).name)[:width]
        who = reports.visible(verdict["who"] or "")[:20]
        print(f"{mark} {name:<{width}}  {reports.score(verdict):>9}  {who}  {', '.join(wrong)}".rstrip())
    count = collections.Counter(v["passed"] for v in verdicts)
    print(
        tr(
            f"{len(verdicts)} submissions: {count[True]} passed, {count[False]} not, {count[None]} not judged",
            f"共 {len(verdicts)} 份：{count[True]} 份通过，{count[False]} 份未通过，{count[None]} 份无法判断",
        )
    )
    failed = collections.Counter(r["check"] for v in verdicts for r in v["checks"] if r["status"] == FAILED)
    for name, number in failed.most_common():
        print(f"  {number:>5}  {name}")


def check_all(values: Values) -> int:
    folder = values.text("DIR")
    if not folder:
        raise UserError("DIR", tr("no folder is named", "没有指定目录"), "make check-all DIR=…")
    paths, rules = submissions(Path(folder)), check.rubric(values.text("RUBRIC") or None)
    context, names = context_of(values), names_of(values)
    wanted = reports.wanted(values.text("REPORT"))
    verdicts = judge_all(paths, values.jobs, rules, lambda path: judge_submission(path, rules, context, names))
    if values.rerun:
        rerun.add(verdicts, paths, rules, values, names)
    mark_copies(verdicts, rules)
    print_table(verdicts)
    reports.write(wanted, verdicts)
    return 0 if all(verdict["passed"] for verdict in verdicts) else 1


def main(arguments: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments and not arguments[0].startswith("-"):
        arguments = ["--dir", *arguments]
    return cli.run("check_all", __doc__, SETTINGS, check_all, arguments)
