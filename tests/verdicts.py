"""A submission judged by the shipped rubric, its verdict held against the schema."""

from __future__ import annotations

import functools
from pathlib import Path

from lesson.submission import scoring
from lesson.submission.evidence import schema
from lesson.submission.judging import judge_submission
from lesson.submission.registry import Context

SCHEMA = schema("verdict")


@functools.cache
def rules() -> dict:
    return scoring.rubric(None)


def judged(path: Path, context: Context | None = None) -> dict:
    found = judge_submission(path, rules(), context or Context())
    SCHEMA.validate(found)
    return found


def wrong(found: dict, *status: str) -> set[str]:
    return {r["check"] for r in found["checks"] if r["status"] in (status or ("failed", "unjudged"))}
