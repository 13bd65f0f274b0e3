"""Points, required checks and threshold: results of checks become a verdict that passes or not, by a rubric."""

from __future__ import annotations

import tomllib
from pathlib import Path

from lesson.core.files import readable
from lesson.core.messages import UserError, tr
from lesson.core.settings import ROOT
from lesson.submission.evidence import schema
from lesson.submission.registry import CHECKS, FAILED, PASSED, SKIPPED, UNJUDGED

OPTIONAL = ("source", "manifest")  # skipped, they are no loss; so are all of a rerun that was not asked for
RUBRIC = ROOT / "rubric" / "default.toml"


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


# --- one process for each ------------------------------------------------------------------------------------------------
