"""One trainer for a run folder on each machine."""

from __future__ import annotations

from lesson.runs.folder import Run
from lesson.training.lock import lock_run


def test_nodes_beyond_the_first_have_a_lock_and_a_console_of_their_own(tmp_path):
    first, second = Run(tmp_path), Run(tmp_path, 1)
    assert {first.console.name, first.lock.name} == {"console.log", ".lock"}
    assert {second.console.name, second.lock.name} == {"console.1.log", ".lock.1"}
    with lock_run(first), lock_run(second):
        pass
