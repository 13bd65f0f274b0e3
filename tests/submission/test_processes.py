"""A process that judges and dies or hangs: the checker's fault, in a valid verdict."""

from __future__ import annotations

import os
import time

import pytest
from verdicts import SCHEMA, shipped_rubric, wrong_checks

from lesson.submission.processes import JudgingProcess


@pytest.mark.slow
def test_a_checker_that_dies_or_hangs_is_the_checkers_fault():
    found = JudgingProcess("x", lambda path: os._exit(3)).wait(shipped_rubric())
    SCHEMA.validate(found)
    assert found["passed"] is None and wrong_checks(found, "unjudged") == {"opens"}
    found = JudgingProcess("x", lambda path: time.sleep(60), seconds=0.3).wait(shipped_rubric())
    assert found["passed"] is None and "too long" in found["checks"][0]["found"]
