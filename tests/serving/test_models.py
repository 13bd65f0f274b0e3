"""The models of a server: an answer ends when its reader is gone, and the next one begins."""

from __future__ import annotations

import os

import pytest

from lesson.core.messages import UserError
from lesson.core.settings import Values
from lesson.evaluation.asking import Sampling, build_chat
from lesson.runs.folder import find_last_run
from lesson.serving.models import Models

pytestmark = [pytest.mark.torch, pytest.mark.slow]


def test_an_answer_that_is_stopped_makes_no_more_tokens(endless, monkeypatch):
    """The model itself, without a page: leaving the block ends generation long before its limit, and the lock is free."""
    monkeypatch.setattr("os.environ", dict(os.environ))
    values = Values({"PROFILE": "tiny", "BUILD": str(endless)}, {})
    models = Models(values, "merged", find_last_run(values))
    with models.ask(build_chat("", "你是谁？"), Sampling(max_tokens=1900)) as reply:
        next(iter(reply))
    reply._thread.join(10)
    assert 0 < reply.tokens < 500 and not reply.ended
    with models.ask(build_chat("", "你是谁？"), Sampling(max_tokens=3)) as reply:
        list(reply)
    assert (reply.tokens, reply.ended) == (3, False)
    with pytest.raises(UserError, match="2048"):
        models.ask(build_chat("", "你" * 3000))
