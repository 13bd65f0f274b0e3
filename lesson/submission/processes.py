"""One submission judged in a process of its own, so that whatever it does to the checker, the next one is judged."""

from __future__ import annotations

import math
import multiprocessing
import resource
import time
from collections.abc import Callable
from pathlib import Path

from lesson.core.messages import tr
from lesson.submission.registry import UNJUDGED
from lesson.submission.scoring import make_verdict, printable, results_unopened

LONGEST = 60  # seconds for one submission; honest ones take under 5
MOST_MEMORY = 1 << 30  # bytes of address space for one; honest ones take under 300 MB of memory
LARGEST_FILE = 1 << 30  # bytes that it may write: only what a tar.gz unpacks to


class JudgingProcess:
    """A forked process that judges one submission under limits of time, memory and file size."""

    def __init__(
        self, path: str, judge: Callable[[str], dict], seconds: float = LONGEST, memory: int = MOST_MEMORY
    ) -> None:
        """`judge` makes a verdict of the path; it runs in the new process."""
        self.path, self._until = path, time.monotonic() + seconds
        fork = multiprocessing.get_context("fork")
        self.receiver, sender = fork.Pipe(duplex=False)

        def work() -> None:
            self.receiver.close()
            _set_limits(seconds, memory)
            sender.send(judge(path))

        self._process = fork.Process(target=work)
        self._process.start()
        sender.close()

    def poll(self, rubric: dict) -> dict | None:
        """The verdict; None while it is not there yet. A process that died or ran too long is the checker's fault."""
        why = None
        if self.receiver.poll():
            try:
                verdict = self.receiver.recv()
                self._process.join()
                return verdict
            except EOFError:
                self._process.join()
                why = tr(
                    f"the checker ended with {self._process.exitcode}", f"检查进程以 {self._process.exitcode} 结束"
                )
        elif time.monotonic() > self._until:
            self.stop()
            why = tr("the checker took too long", "检查超时")
        if why is None:
            return None
        return make_verdict(printable(self.path), results_unopened(why, UNJUDGED), rubric)

    def wait(self, rubric: dict) -> dict:
        """The verdict, when it is there."""
        while (verdict := self.poll(rubric)) is None:
            self.receiver.poll(0.2)
        return verdict

    def stop(self) -> None:
        self._process.kill()
        self._process.join()


def _set_limits(seconds: float, memory: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, LARGEST_FILE))
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(seconds) + 1, math.ceil(seconds) + 2))
    # Beside what this process was forked with: a parent that has large libraries mapped must not count as the submission.
    memory += int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
