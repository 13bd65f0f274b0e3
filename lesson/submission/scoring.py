"""Points, required checks and threshold: results of checks become a verdict that passes or not, by a rubric."""

from __future__ import annotations

import tomllib
from pathlib import Path

from lesson.core.files import readable
from lesson.core.messages import UserError, tr
from lesson.core.schemas import load_schema
from lesson.core.settings import ROOT
from lesson.submission.registry import FAILED, PASSED, SKIPPED, UNJUDGED, check_names, empty_result, load_checks

OPTIONAL = ("source", "manifest")  # skipped, they are no loss; so are all of an area in ASKED that was not asked for
# Checks that say that the work is another's, or that its files tell of two trainings. They are not required, since there
# may be nothing to compare with; but whoever fails one does not pass.
ACCUSING = ("own", "agree")
ASKED = ("rerun", "retrain")  # areas of checks that only RERUN=1 and RETRAIN= make
RUBRIC = ROOT / "rubric" / "default.toml"


def load_rubric(path: str | Path | None) -> dict:
    """The rubric in a TOML file. Raises UserError with what is wrong in it."""
    path = readable(path or RUBRIC, tr("set RUBRIC to a rubric file", "请把 RUBRIC 设为评分文件"))
    remedy = tr(f"compare it with {RUBRIC}", f"请参照 {RUBRIC}")
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(path, f"TOML: {error}", remedy) from None
    for error in load_schema("rubric").iter_errors(found):
        raise UserError(f"{path}: {error.json_path}", error.message, remedy)
    known = set(check_names())
    for name in [*found["points"], *found["required"]]:
        if name not in known:
            raise UserError(f"{path}: {name}", tr("no such check", "没有这个检查"), ", ".join(sorted(known)))
    return found


def results_unopened(why: str, status: str = FAILED) -> list[dict]:
    """The results where nothing could be looked at: the first check has the reason, the others are skipped."""
    first, *others = load_checks()
    remedy = tr("pack it again: make submission", "请重新打包：make submission")
    if status == UNJUDGED:
        remedy = tr("tell the staff", "请联系教师")
    needs = tr(f"needs: {first.title}", f"取决于：{first.title}")
    result = empty_result(first, status) | {"found": printable(why), "remedy": remedy}
    return [result, *(empty_result(check, SKIPPED) | {"found": needs} for check in others)]


def printable(text: str) -> str:
    """At most 1000 characters of a text from a submission, with the unprintable ones shown as escapes."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[:1000])


def make_verdict(shown: str, results: list[dict], rubric: dict) -> dict:
    """Results with points, and whether they pass by the rubric."""
    bound_texts(results)
    verdict = {
        **{"format": 1, "submission": shown, "who": None, "names": {"old": None, "new": None}, "profile": None},
        **{"passed": None, "points": 0, "of": 0, "threshold": rubric["threshold"], "required": rubric["required"]},
        **{
            "checks": results,
            "fingerprints": {},
            "curve": [],
            "answers": [],
            "rerun": None,
            "retrain": None,
            "notes": [],
            "seconds": 0.0,
        },
    }
    award_points(verdict, rubric)
    return verdict


def bound_texts(results: list[dict]) -> None:
    """Bound what was found in length, and leave nothing unprintable in it."""
    for result in results:
        result["found"] = printable(result["found"])
        result["places"] = [printable(str(place))[:500] for place in result["places"]]


def award_points(verdict: dict, rubric: dict) -> None:
    """Give each result its points, and the verdict whether it passes by the rubric.

    A check that could not be judged keeps its points in the total, so that breaking one never helps. The verdict is open
    (None) where what could not be judged decides: with all of it passed it would pass, without it it does not.
    """
    points, results = rubric["points"], verdict["checks"]
    for result in results:
        optional = result["status"] == SKIPPED and (result["check"] in OPTIONAL or _not_asked_for(result, verdict))
        worth = 0 if optional else points.get(result["check"], 0)
        result["of"] = worth
        result["points"] = worth if result["status"] == PASSED else 0
    status = {result["check"]: result["status"] for result in results}
    got, of = sum(r["points"] for r in results), sum(r["of"] for r in results)
    verdict |= {"required": rubric["required"], "threshold": rubric["threshold"]}
    required = [result["status"] for result in results if is_required(result, verdict)]
    required += [FAILED for name in ACCUSING if status.get(name) == FAILED]
    passed: bool | None = all(s == PASSED for s in required) and got * 100 >= rubric["threshold"] * of
    lost = sum(r["of"] for r in results if r["status"] == FAILED)
    open_yet = UNJUDGED in status.values() and FAILED not in required
    if not passed and open_yet and (of - lost) * 100 >= rubric["threshold"] * of:
        passed = None
    verdict |= {"passed": passed, "points": got, "of": of}


def is_required(result: dict, verdict: dict) -> bool:
    """Whether a submission passes only with this check: it is on the rubric's list, and was asked for."""
    listed = result["check"] in verdict["required"] and result["check"] not in ACCUSING
    return listed and not _not_asked_for(result, verdict)


def deciding_checks(verdict: dict) -> list[dict]:
    """The results for which alone a submission does not pass: required ones without success, and an accusation.

    Empty where it passes, or where only its points are too few.
    """
    return [
        result
        for result in verdict["checks"]
        if (is_required(result, verdict) and result["status"] != PASSED)
        or (result["check"] in ACCUSING and result["status"] == FAILED)
    ]


def _not_asked_for(result: dict, verdict: dict) -> bool:
    return result["area"] in ASKED and verdict[result["area"]] is None
