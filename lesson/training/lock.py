"""One trainer for a run folder at a time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from lesson.core.locks import try_lock
from lesson.core.messages import UserError, tr
from lesson.runs.folder import Run

ATTEMPTS, PAUSE = 20, 0.05  # seconds between two: the page asks for the lock now and then, for less than a millisecond


@contextmanager
def lock_run(run: Run) -> Iterator[None]:
    """Only one trainer writes into a run folder. The lock dies with the process that holds it.

    Raises UserError when another one has it.
    """
    with open(run.lock, "w") as file:
        for attempt in range(ATTEMPTS):
            if try_lock(file.fileno()):
                break
            if attempt < ATTEMPTS - 1:
                time.sleep(PAUSE)
        else:
            raise UserError(
                run.folder,
                tr("is being trained right now", "正在训练中"),
                tr("wait for it, or stop it", "请等待或先停止它"),
            )
        yield
