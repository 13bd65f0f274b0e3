"""One trainer for a run folder on each machine."""

from __future__ import annotations

import fcntl
import threading

import pytest

from lesson.core.messages import UserError
from lesson.runs.folder import Run
from lesson.training import lock
from lesson.training.lock import lock_run


def test_nodes_beyond_the_first_have_a_lock_and_a_console_of_their_own(tmp_path):
    first, second = Run(tmp_path), Run(tmp_path, 1)
    assert {first.console.name, first.lock.name} == {"console.log", ".lock"}
    assert {second.console.name, second.lock.name} == {"console.1.log", ".lock.1"}
    with lock_run(first), lock_run(second):
        pass


def test_a_second_trainer_is_refused_and_one_who_only_looks_is_waited_for(tmp_path, monkeypatch):
    run = Run(tmp_path)
    monkeypatch.setattr(lock, "PAUSE", 0.001)
    with lock_run(run), pytest.raises(UserError, match="being trained"), lock_run(run):
        pass
    monkeypatch.setattr(lock, "PAUSE", 0.1)
    with open(run.lock, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        threading.Timer(0.05, lambda: fcntl.flock(file, fcntl.LOCK_UN)).start()
        with lock_run(run):
            pass
