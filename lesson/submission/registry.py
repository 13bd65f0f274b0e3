"""What a check is, which checks there are and in which order, and how they are run: a result for each.

A check is a function whose docstring is the line that the learner sees, `English | 中文`. It returns what it found, or
raises Failed (the submission's fault) or Skipped (it cannot be told because something is missing). An exception of the
checker's own or of its machine makes the check "unjudged"; any other came from what was handed in, and fails it. The
function's name is the check's, in verdicts and rubrics.
"""

from __future__ import annotations

import functools
import importlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lesson.core.messages import tr
from lesson.core.refusals import Broken, Unreadable
from lesson.submission.blame import UNUSUAL, explain_error, is_checkers_trouble, stopped_by_content
from lesson.submission.parts import PARTS

if TYPE_CHECKING:
    from lesson.submission.evidence import Evidence
    from lesson.submission.staff import StaffInputs

# The checks in the order in which they are made and shown: area, file below checks/, names. A check may need those above.
TABLE = (
    ("package", "package", "opens complete manifest listed hashes no_pickle"),
    ("data", "data", "data_rules replaced named source"),
    ("config", "config", "config_only config_rules config_data config_base"),
    ("run", "run", "log finished samples steps fell agree rates times speed record inputs names"),
    ("adapter", "adapter", "adapter_format adapter_config adapter_shapes adapter_finite adapter_trained"),
    ("adapter", "copied", "own"),
    ("answers", "answers", "answers says_new not_old varied counted asked prompts held_out"),
    ("rerun", "rerun", "rerun_says_new rerun_not_old rerun_agrees"),
    ("retrain", "retrain", "retrained"),
)
PASSED, FAILED, SKIPPED, UNJUDGED = "passed", "failed", "skipped", "unjudged"
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


@dataclass(frozen=True)
class Check:
    """One check: its function, its area, and what it needs before it means anything."""

    function: Callable[[Evidence, StaffInputs], str]
    area: str
    parts: tuple[str, ...]  # of the submission, without which nothing can be said
    after: tuple[str, ...]  # checks that must have passed

    @property
    def name(self) -> str:
        return self.function.__name__

    @property
    def title(self) -> str:
        return tr(*self.function.__doc__.strip().split(" | "))


def define_check(area: str, *parts: str, after: Sequence[str] = ()) -> Callable[[Callable], Check]:
    """Make the decorated function a check of `area`; it is made where TABLE names it."""
    return lambda function: Check(function, area, parts, tuple(after))


@functools.cache
def load_checks() -> tuple[Check, ...]:
    """All checks in the order of TABLE. Only here are their files imported, with all that they read."""
    checks = []
    for _, file, names in TABLE:
        module = importlib.import_module(f"lesson.submission.checks.{file}")
        checks += [getattr(module, name) for name in names.split()]
    return tuple(checks)


def check_names() -> list[str]:
    return [name for _, _, names in TABLE for name in names.split()]


def empty_result(check: Check, status: str) -> dict:
    """What schemas/verdict.schema.json has for one check, before anything was found."""
    result = {"check": check.name, "area": check.area, "title": check.title, "status": status}
    return result | {"found": "", "remedy": "", "places": [], "seconds": 0.0}


def run_checks(evidence: Evidence, staff: StaffInputs, checks: Iterable[Check]) -> list[dict]:
    """The results of the checks, in order, as schemas/verdict.schema.json has them."""
    results: dict[str, dict] = {}
    for check in checks:
        result = empty_result(check, PASSED)
        started = time.perf_counter()
        try:
            missing = [part for part in check.parts if part not in evidence.parts]
            if missing:
                raise Skipped(tr("not handed in: ", "没有提交：") + ", ".join(tr(*PARTS[p][1:]) for p in missing))
            for name in check.after:
                if results[name]["status"] != PASSED:
                    raise Skipped(tr(f"needs: {results[name]['title']}", f"取决于：{results[name]['title']}"))
            result["found"] = check.function(evidence, staff) or ""
        except Failed as failed:
            result |= {"status": FAILED, "found": str(failed), "remedy": failed.remedy, "places": failed.places[:SHOWN]}
        except Skipped as skipped:
            result |= {"status": SKIPPED, "found": str(skipped)}
        except Unjudged as unjudged:
            result |= {"status": UNJUDGED, "found": str(unjudged), "remedy": unjudged.remedy}
        except (Broken, Unreadable) as broken:
            remedy = tr("hand in the file as the stage wrote it", "请提交该步骤生成的原文件")
            result |= {"status": FAILED, "found": str(broken), "remedy": remedy}
        except Exception as error:
            if is_checkers_trouble(error):
                remedy = tr("tell the staff", "请联系教师")
                result |= {"status": UNJUDGED, "found": explain_error(error), "remedy": remedy}
            else:  # or else whatever stops a check would spare a cheat what it finds
                result |= {"status": FAILED, "found": stopped_by_content(error), "remedy": tr(*UNUSUAL)}
        result["seconds"] = round(time.perf_counter() - started, 3)
        results[check.name] = result
    return list(results.values())
