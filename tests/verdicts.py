"""A submission judged by the shipped rubric, its verdict held against the schema."""

from __future__ import annotations

import functools
from pathlib import Path

from lesson.core.schemas import load_schema
from lesson.submission.scoring import load_rubric
from lesson.submission.staff import StaffInputs
from lesson.submission.verdict import judge_submission

SCHEMA = load_schema("verdict")


@functools.cache
def shipped_rubric() -> dict:
    return load_rubric(None)


def verdict_on(path: Path, staff: StaffInputs | None = None) -> dict:
    verdict = judge_submission(path, shipped_rubric(), staff or StaffInputs())
    SCHEMA.validate(verdict)
    return verdict


def wrong_checks(verdict: dict, *status: str) -> set[str]:
    """The names of the checks of that status; without one, of those that failed or were not judged."""
    return {r["check"] for r in verdict["checks"] if r["status"] in (status or ("failed", "unjudged"))}
