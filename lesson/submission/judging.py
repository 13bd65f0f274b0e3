"""make check: a verdict on each submission, from its files alone, running none of its code.

    python -m recipe.check PATH… [--rubric rubric/default.toml] [--source rows.jsonl] [--report verdict.json,page.html]

A submission is a folder, a zip or a tar: what make submission packs, or a folder as XTuner and a learner leave it.
Exit status: 0 passed, 1 not passed or not judged, 2 when there is nothing to check. Neither torch nor xtuner is needed.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

from lesson.core import cli
from lesson.core.files import read_json, readable
from lesson.core.messages import UserError, tr
from lesson.core.refusals import Unreadable
from lesson.core.settings import Values
from lesson.core.text import shorten
from lesson.model.shape import shape_of
from lesson.submission import published, reports, rerun
from lesson.submission.archive import open_view
from lesson.submission.evidence import Broken, Evidence
from lesson.submission.fingerprints import fingerprints
from lesson.submission.registry import UNJUDGED, Context, judge, load_checks
from lesson.submission.scoring import rubric, scored, shorten_long, unopened

SETTINGS = [
    "SUBMISSION",
    "RUBRIC",
    "SOURCE",
    "PUBLISHED",
    "REPORT",
    "NEW_NAME",
    "OLD_NAME",
    "FORMAT",
    "RERUN",
    "BUILD",
    "MODEL",
    "QUESTIONS",
]


load_checks()


LONGEST = 60  # seconds for one submission; honest ones take under 5


MOST_MEMORY = 1 << 30  # bytes of address space for one; honest ones take under 300 MB of memory


LARGEST_FILE = 1 << 30  # bytes that it may write: only what a tar.gz unpacks to


def judge_submission(path: str | Path, rules: dict, context: Context, names: dict[str, str] | None = None) -> dict:
    """The verdict on the submission at `path`, as schemas/verdict.schema.json has it. Never raises for what is in it."""
    started = time.perf_counter()
    shown = shorten(os.fspath(path).encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
    try:
        with open_view(path) as view:
            evidence = Evidence(view, names)
            results = judge(evidence, context)
            result = scored(shown, results, rules) | facts(evidence)
            result["notes"] = view.notes[:20]
    except (Unreadable, OSError) as error:
        result = scored(shown, unopened(str(error)), rules)
    result["seconds"] = round(time.perf_counter() - started, 3)
    return result


def facts(evidence: Evidence) -> dict:
    """What reports show besides the checks. A part that cannot be read is left out: its check has said so."""

    def quietly(read: Callable[[], object], default: object) -> object:
        try:
            return read()
        except (Broken, Unreadable, KeyError):
            return default

    def curve() -> list[list[float]]:
        points = evidence.curve if "curve" in evidence.parts else evidence.log
        every = max(1, math.ceil(len(points) / 1000))
        return [[p.step, p.loss] for p in points[::every] if math.isfinite(p.loss)]

    def answers() -> list[dict]:
        identity = [line for line in evidence.answers if line.get("kind", "identity") == "identity"]
        every = max(1, math.ceil(len(identity) / 60))
        return [
            {
                "prompt": shorten(str(line.get("prompt", ""))),
                "input": line["input"][:500],
                "output": line["output"][:500],
            }
            for line in identity[::every]
        ]

    return {
        "who": evidence.manifest["who"] if evidence.manifest else None,
        "names": {"old": evidence.old_name, "new": evidence.new_name},
        "profile": evidence.profile,
        "fingerprints": quietly(lambda: fingerprints(evidence), {}),
        "curve": quietly(curve, []),
        "answers": quietly(answers, []),
    }


def _limits(seconds: float, memory: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, LARGEST_FILE))
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(seconds) + 1, math.ceil(seconds) + 2))
    # Beside what this process was forked with: a parent that has large libraries mapped must not count as the submission.
    memory += int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


class Child:
    """One submission judged in a process of its own, under limits of time, memory and file size."""

    def __init__(self, path: str, judge_it: Callable[[str], dict], seconds: float = LONGEST, memory: int = MOST_MEMORY):
        self.path, self._until = path, time.monotonic() + seconds
        fork = multiprocessing.get_context("fork")
        self.receiver, sender = fork.Pipe(duplex=False)

        def work() -> None:
            self.receiver.close()
            _limits(seconds, memory)
            sender.send(judge_it(path))

        self._process = fork.Process(target=work)
        self._process.start()
        sender.close()

    def result(self, rules: dict) -> dict | None:
        """The verdict; None while it is not there yet. A process that died or ran too long is the checker's fault."""
        why = None
        if self.receiver.poll():
            try:
                found = self.receiver.recv()
                self._process.join()
                return found
            except EOFError:
                self._process.join()
                why = tr(
                    f"the checker ended with {self._process.exitcode}", f"检查进程以 {self._process.exitcode} 结束"
                )
        elif time.monotonic() > self._until:
            self.stop()
            why = tr("the checker took too long", "检查超时")
        if why is None:
            return None
        return scored(shorten_long(self.path), unopened(why, UNJUDGED), rules)

    def stop(self) -> None:
        self._process.kill()
        self._process.join()

    def wait(self, rules: dict) -> dict:
        while (found := self.result(rules)) is None:
            self.receiver.poll(0.2)
        return found


def context_of(values: Values) -> Context:
    """What the staff's settings add. Raises UserError when SOURCE, PUBLISHED or MODEL is not there."""
    source = values.text("SOURCE") or None
    if source:
        readable(source, tr("set SOURCE to the course's rows", "请把 SOURCE 设为课程数据"))
    base = None
    if values.model:
        path = Path(values.model) / "config.json"
        remedy = tr("set MODEL to the folder of a base model", "请把 MODEL 设为基座模型目录")
        base = shape_of(read_json(path, remedy), path)
    return Context(source=source, base=base, published=published.load(values.text("PUBLISHED") or None))


def names_of(values: Values) -> dict[str, str]:
    """Names for folders that declare none: only what was typed counts."""
    return {key: getattr(values, f"{key}_name") for key in ("new", "old") if values.given(f"{key.upper()}_NAME")}


def check(paths: list[str], values: Values) -> int:
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
    rules, context, names = rubric(values.text("RUBRIC") or None), context_of(values), names_of(values)
    wanted = reports.wanted(values.text("REPORT"))
    verdicts = [Child(path, lambda p: judge_submission(p, rules, context, names)).wait(rules) for path in paths]
    if values.rerun:
        rerun.add(verdicts, paths, rules, values, names)
    if values.format == "json":
        reports.print_json(verdicts if len(verdicts) > 1 else verdicts[0])
    else:
        for found in verdicts:
            reports.terminal(found, sys.stdout)
    reports.write(wanted, verdicts)
    return 0 if all(found["passed"] for found in verdicts) else 1


def main(arguments: list[str] | None = None) -> int:
    def call() -> int:
        parser = cli.parser("check", __doc__, SETTINGS)
        parser.add_argument("paths", nargs="*", help=tr("submissions", "提交"))
        flags = vars(parser.parse_args(arguments))
        cli.set_language(flags["LANG"])
        return check(flags.pop("paths"), Values(flags))

    return cli.guarded(call)
