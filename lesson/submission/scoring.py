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
import tomllib
from collections.abc import Callable
from pathlib import Path

from lesson.core import cli
from lesson.core.files import read_json, readable
from lesson.core.findings import shorten
from lesson.core.messages import UserError, tr
from lesson.core.settings import ROOT, Values
from lesson.submission import published, reports, rerun
from lesson.submission.archive import Unreadable, open_view
from lesson.submission.checks import adapter as check_adapter
from lesson.submission.checks import answers as check_answers
from lesson.submission.checks import files as check_files
from lesson.submission.checks import rerun as check_rerun
from lesson.submission.checks import run as check_run
from lesson.submission.evidence import Broken, Evidence, schema
from lesson.submission.registry import CHECKS, FAILED, PASSED, SKIPPED, UNJUDGED, Context, judge
from lesson.training import estimate

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
OPTIONAL = ("source", "manifest")  # skipped, they are no loss; so are all of a rerun that was not asked for
AREAS = (check_files, check_run, check_adapter, check_answers, check_rerun)  # importing them registers their checks
RUBRIC = ROOT / "rubric" / "default.toml"
LONGEST = 60  # seconds for one submission; honest ones take under 5
MOST_MEMORY = 1 << 30  # bytes of address space for one; honest ones take under 300 MB of memory
LARGEST_FILE = 1 << 30  # bytes that it may write: only what a tar.gz unpacks to


def rubric(path: str | Path | None) -> dict:
    """The rubric in a TOML file. Raises UserError with what is wrong in it."""
    path = readable(path or RUBRIC, tr("set RUBRIC to a rubric file", "请把 RUBRIC 设为评分文件"))
    remedy = tr(f"compare it with {RUBRIC}", f"请参照 {RUBRIC}")
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(path, f"TOML: {error}", remedy) from None
    for error in schema("rubric").iter_errors(found):
        raise UserError(f"{path}: {error.json_path}", error.message, remedy)
    known = {item.name for item in CHECKS}
    for name in [*found["points"], *found["required"]]:
        if name not in known:
            raise UserError(f"{path}: {name}", tr("no such check", "没有这个检查"), ", ".join(sorted(known)))
    return found


def verdict(path: str | Path, rules: dict, context: Context, names: dict[str, str] | None = None) -> dict:
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


def unopened(why: str, status: str = FAILED) -> list[dict]:
    """The results where nothing could be looked at: the first check has the reason, the others are skipped."""
    results = []
    for index, item in enumerate(CHECKS):
        result = {"check": item.name, "area": item.area, "title": item.title, "status": SKIPPED}
        result |= {
            "found": tr(f"needs: {CHECKS[0].title}", f"取决于：{CHECKS[0].title}"),
            "remedy": "",
            "places": [],
            "seconds": 0.0,
        }
        if index == 0:
            remedy = tr("pack it again: make submission", "请重新打包：make submission")
            if status == UNJUDGED:
                remedy = tr("tell the staff", "请联系教师")
            result |= {"status": status, "found": shorten_long(why), "remedy": remedy}
        results.append(result)
    return results


def shorten_long(text: str) -> str:
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[:1000])


def scored(shown: str, results: list[dict], rules: dict) -> dict:
    """Results with points, and whether they pass by the rubric."""
    clean(results)
    verdict = {
        **{"format": 1, "submission": shown, "who": None, "names": {"old": None, "new": None}, "profile": None},
        **{"passed": None, "points": 0, "of": 0, "threshold": rules["threshold"], "required": rules["required"]},
        **{
            "checks": results,
            "fingerprints": {},
            "curve": [],
            "answers": [],
            "rerun": None,
            "notes": [],
            "seconds": 0.0,
        },
    }
    score(verdict, rules)
    return verdict


def clean(results: list[dict]) -> None:
    """Bound what was found in length, and leave nothing unprintable in it."""
    for result in results:
        result["found"] = shorten_long(result["found"])
        result["places"] = [shorten_long(str(place))[:500] for place in result["places"]]


def score(verdict: dict, rules: dict) -> None:
    """Give each result its points, and the verdict whether it passes by the rubric."""
    points, results = rules["points"], verdict["checks"]
    for result in results:
        optional = result["status"] == SKIPPED and (result["check"] in OPTIONAL or _not_asked_for(result, verdict))
        worth = 0 if optional or result["status"] == UNJUDGED else points.get(result["check"], 0)
        result["of"] = worth
        result["points"] = worth if result["status"] == PASSED else 0
    status = {result["check"]: result["status"] for result in results}
    got, of = sum(r["points"] for r in results), sum(r["of"] for r in results)
    not_asked_for = {result["check"] for result in results if _not_asked_for(result, verdict)}
    required = [status[name] for name in rules["required"] if name not in not_asked_for]
    passed: bool | None = all(s == PASSED for s in required) and got * 100 >= rules["threshold"] * of
    if not passed and UNJUDGED in status.values() and FAILED not in required:
        passed = None
    verdict |= {"passed": passed, "points": got, "of": of}


def _not_asked_for(result: dict, verdict: dict) -> bool:
    return result["area"] == "rerun" and verdict["rerun"] is None


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
        "fingerprints": quietly(lambda: check_adapter.fingerprints(evidence), {}),
        "curve": quietly(curve, []),
        "answers": quietly(answers, []),
    }


# --- one process for each ------------------------------------------------------------------------------------------------


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
        base = estimate.shape_of(read_json(path, remedy), path)
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
    verdicts = [Child(path, lambda p: verdict(p, rules, context, names)).wait(rules) for path in paths]
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
