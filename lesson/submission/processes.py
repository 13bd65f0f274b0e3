"""One submission judged in a process of its own, so that whatever it does to the checker, the next one is judged."""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import os
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path

from lesson.core.messages import tr
from lesson.submission.registry import FAILED, UNJUDGED
from lesson.submission.scoring import make_verdict, printable, results_unopened

LONGEST = 60  # seconds for one submission; honest ones take under 5
BUSY = 0.2  # share of the time that a process must have computed for the submission to be what kept it
MOST_MEMORY = 1 << 30  # bytes of address space for one; honest ones take under 300 MB of memory
LARGEST_FILE = 1 << 30  # bytes that it may write: only what a tar.gz unpacks to


class JudgingProcess:
    """A forked process that judges one submission under limits of time, memory and file size."""

    def __init__(
        self, path: str, judge: Callable[[str], dict], seconds: float = LONGEST, memory: int = MOST_MEMORY
    ) -> None:
        """`judge` makes a verdict of the path; it runs in the new process."""
        self.path, self._seconds, self._until = path, seconds, time.monotonic() + seconds
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
        """The verdict; None while it is not there yet.

        A process that died or that waited too long is the checker's fault. One that computed all the time was kept
        busy by what it read: that fails, or else a submission could spare itself the verdict.
        """
        why, status = None, UNJUDGED
        too_long = tr(
            f"not judged within {self._seconds:g} s of computing; an honest one takes under 5 s",
            f"计算 {self._seconds:g} 秒仍未检查完；正常的提交不到 5 秒",
        )
        if self.receiver.poll():
            try:
                verdict = self.receiver.recv()
                self._process.join()
                return verdict
            except EOFError:
                self._process.join()
                if self._process.exitcode == -signal.SIGXCPU:
                    why, status = too_long, FAILED
                else:
                    why = tr(
                        f"the checker ended with {self._process.exitcode}", f"检查进程以 {self._process.exitcode} 结束"
                    )
        elif time.monotonic() > self._until:
            busy = self._seconds_computed() > BUSY * self._seconds
            self.stop()
            why, status = (too_long, FAILED) if busy else (tr("the checker took too long", "检查超时"), UNJUDGED)
        if why is None:
            return None
        return make_verdict(printable(self.path), results_unopened(why, status), rubric)

    def wait(self, rubric: dict) -> dict:
        """The verdict, when it is there."""
        while (verdict := self.poll(rubric)) is None:
            self.receiver.poll(0.2)
        return verdict

    def _seconds_computed(self) -> float:
        """Seconds of processor time that the process has used."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            words = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
            return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
        return 0.0

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
