"""What a check is and how all of them are run: one verdict, in which a failure of the checker is not the learner's.

A check is a function whose docstring is the line that the learner sees, `English | 中文`. It returns what it found, or
raises Failed (the submission's fault) or Skipped (it cannot be told because something is missing). Any other exception
is the checker's own and makes the check "unjudged".
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lesson.core.messages import tr
from lesson.core.refusals import Unreadable
from lesson.core.text import shorten
from lesson.submission.evidence import PARTS, Broken, Evidence

if TYPE_CHECKING:
    from lesson.model.shape import Shape
    from lesson.submission.published import Published

PASSED, FAILED, SKIPPED, UNJUDGED = "passed", "failed", "skipped", "unjudged"
AREAS = ("package", "data", "config", "run", "adapter", "answers", "rerun")
SHOWN = 20  # places of one finding that a verdict lists


class Failed(Exception):
    """The submission breaks a rule: what was found, what to do, and single places."""

    def __init__(self, why: str, remedy: str, places: Sequence[str] = ()) -> None:
        super().__init__(why)
        self.remedy, self.places = remedy, list(places)


class Skipped(Exception):
    """Nothing can be said, and why."""


class Unjudged(Exception):
    """It cannot be told, for want of something on the staff's side: what, and what the staff do about it."""

    def __init__(self, why: str, remedy: str) -> None:
        super().__init__(why)
        self.remedy = remedy


@dataclass
class Context:
    """What the staff add to a submission: their source rows, fingerprints of other work, answers of a rerun."""

    source: str | None = None
    known: dict[str, dict[str, str]] = field(default_factory=dict)  # kind → hash → whose
    base: Shape | None = None  # of the staff's MODEL
    published: Sequence[Published] = ()
    rerun: list[dict] | None = None  # lines as in answers.jsonl, asked by the staff


@dataclass(frozen=True)
class Check:
    run: Callable[[Evidence, Context], str]
    area: str
    parts: tuple[str, ...]  # of the submission, without which nothing can be said
    after: tuple[str, ...]  # checks without which this one has no meaning

    @property
    def name(self) -> str:
        return self.run.__name__

    @property
    def title(self) -> str:
        return tr(*self.run.__doc__.strip().split(" | "))


CHECKS: list[Check] = []
# The files below checks/, in the order in which their checks are made and shown within an area.
FILES = ("run", "adapter", "copied", "files", "answers", "rerun")


def load_checks() -> list[Check]:
    """All checks, in the order of reports: importing a file registers its checks."""
    for name in FILES:
        importlib.import_module(f"lesson.submission.checks.{name}")
    return CHECKS


def check(area: str, *parts: str, after: Sequence[str] = ()) -> Callable:
    """Register the decorated function as a check of `area`."""

    def register(function: Callable[[Evidence, Context], str]) -> Callable[[Evidence, Context], str]:
        CHECKS.append(Check(function, area, parts, tuple(after)))
        CHECKS.sort(key=lambda item: AREAS.index(item.area))  # the order of reports and of `after`
        return function

    return register


def judge(evidence: Evidence, context: Context, areas: Sequence[str] = AREAS) -> list[dict]:
    """The results of the checks of `areas`, in order, as schemas/verdict.schema.json has them."""
    results: dict[str, dict] = {}
    for item in CHECKS:
        if item.area not in areas:
            continue
        result = {"check": item.name, "area": item.area, "title": item.title, "status": PASSED}
        result |= {"found": "", "remedy": "", "places": [], "seconds": 0.0}
        started = time.perf_counter()
        try:
            missing = [part for part in item.parts if part not in evidence.parts]
            if missing:
                raise Skipped(tr("not handed in: ", "没有提交：") + ", ".join(tr(*PARTS[p][1:]) for p in missing))
            for name in item.after:
                if results[name]["status"] not in (PASSED,):
                    raise Skipped(tr(f"needs: {results[name]['title']}", f"取决于：{results[name]['title']}"))
            result["found"] = item.run(evidence, context) or ""
        except Failed as failed:
            result |= {"status": FAILED, "found": str(failed), "remedy": failed.remedy, "places": failed.places[:SHOWN]}
        except Skipped as skipped:
            result |= {"status": SKIPPED, "found": str(skipped)}
        except Unjudged as unjudged:
            result |= {"status": UNJUDGED, "found": str(unjudged), "remedy": unjudged.remedy}
        except (Broken, Unreadable) as broken:
            remedy = tr("hand in the file as the stage wrote it", "请提交该步骤生成的原文件")
            result |= {"status": FAILED, "found": str(broken), "remedy": remedy}
        except Exception as error:  # a checker's mistake must not count against a learner
            said = f"{type(error).__name__}: {shorten(str(error))}"
            result |= {"status": UNJUDGED, "found": said, "remedy": tr("tell the staff", "请联系教师")}
        result["seconds"] = round(time.perf_counter() - started, 3)
        results[item.name] = result
    return list(results.values())
