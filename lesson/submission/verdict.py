"""The verdict on one submission, and what reports show of it. All that checks read is loaded with this file."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from pathlib import Path

from lesson.core.refusals import Unreadable
from lesson.core.text import shorten
from lesson.submission.archive.opening import open_view
from lesson.submission.blame import explain_error, is_checkers_trouble, stopped_by_content
from lesson.submission.evidence import Evidence
from lesson.submission.identity import identify_training
from lesson.submission.likeness import sketch_submission
from lesson.submission.registry import FAILED, UNJUDGED, load_checks, run_checks
from lesson.submission.scoring import make_verdict, printable, results_unopened
from lesson.submission.staff import StaffInputs

MOST_POINTS = 1000  # of the loss curve in a report
MOST_ANSWERS = 60
LONGEST_PATH = 300  # characters that a report shows of where a submission lies


def judge_submission(
    path: str | Path, rubric: dict, staff: StaffInputs, names: dict[str, str] | None = None, with_sketch: bool = False
) -> dict:
    """The verdict on the submission at `path`, as schemas/verdict.schema.json has it. Never raises for what is in it.

    With `with_sketch` it has the keys "sketch" (likeness.py) and "identity" (identity.py) too, which whoever compares
    submissions takes out again.
    """
    started = time.perf_counter()
    shown = _show_path(os.fspath(path))
    try:
        with open_view(path) as view:
            evidence = Evidence(view, names)
            results = run_checks(evidence, staff, load_checks())
            verdict = make_verdict(shown, results, rubric) | summarise(evidence)
            verdict["notes"] = view.notes[:20]
            if with_sketch:
                verdict["sketch"] = sketch_submission(evidence)
                verdict["identity"] = identify_training(evidence)
    except (Unreadable, FileNotFoundError) as error:
        verdict = make_verdict(shown, results_unopened(str(error)), rubric)
    except Exception as error:
        ours = is_checkers_trouble(error)
        why = explain_error(error) if ours else stopped_by_content(error)
        verdict = make_verdict(shown, results_unopened(why, UNJUDGED if ours else FAILED), rubric)
    verdict["seconds"] = round(time.perf_counter() - started, 3)
    return verdict


def _show_path(path: str) -> str:
    """The path, printable; of a long one the end, which tells whose it is."""
    text = path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return printable(text if len(text) <= LONGEST_PATH else "…" + text[-LONGEST_PATH:])


def summarise(evidence: Evidence) -> dict:
    """What reports show besides the checks. A part that cannot be read is left out: its check says so."""

    def read_or(default: object, read: Callable[[], object]) -> object:
        try:
            return read()
        except Exception:
            return default

    return {
        "who": evidence.manifest["who"] if evidence.manifest else None,
        "names": {"old": evidence.old_name, "new": evidence.new_name},
        "profile": evidence.profile,
        "fingerprints": read_or({}, lambda: evidence.fingerprints),
        "curve": read_or([], lambda: _sample_curve(evidence)),
        "answers": read_or([], lambda: _sample_answers(evidence)),
    }


def _sample_curve(evidence: Evidence) -> list[list[float]]:
    """[step, loss in nats per token], at most MOST_POINTS of them."""
    points = evidence.curve if "curve" in evidence.parts else evidence.log.points
    every = max(1, math.ceil(len(points) / MOST_POINTS))
    return [[p.step, p.loss] for p in points[::every] if math.isfinite(p.loss)]


def _sample_answers(evidence: Evidence) -> list[dict]:
    """At most MOST_ANSWERS answers to questions about the assistant."""
    identity = [line for line in evidence.answers if line.get("kind", "identity") == "identity"]
    every = max(1, math.ceil(len(identity) / MOST_ANSWERS))
    return [
        {
            "prompt": shorten(str(line.get("prompt", ""))),
            "input": line["input"][:500],
            "output": line["output"][:500],
        }
        for line in identity[::every]
    ]
