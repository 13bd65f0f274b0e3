"""Processes that a stage starts: run one to its end and know what it showed and took; let one end with its parent."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lesson.core.messages import UserError, tr

PARENT = "RECIPE_PARENT"  # environment variable: the process that started this one, without which it ends
SHOWN_OF_FAILED = 3000  # characters at the end of a failed process's output
GRACE = 10  # seconds that an interrupted process has before it is killed
PAUSE = 0.05  # seconds between two looks at a process that is watched


@dataclass(frozen=True)
class FinishedProcess:
    """A process that has ended, with all processes that it started and waited for."""

    command: Sequence[str]
    status: int  # the exit status; negative: the signal that ended it
    screen: str  # all that it printed, standard output and errors in the order in which they came
    seconds: float  # by the clock
    cpu_seconds: float
    peak_memory: int  # bytes, the largest resident set among them; at least what the process that started it held

    @property
    def last_line(self) -> str:
        """The last line that it printed and that is not empty; "" without one."""
        return next((line for line in reversed(self.screen.splitlines()) if line.strip()), "")

    def require_success(self, where: object = None) -> FinishedProcess:
        """This process. Raises UserError with the end of what it printed when its exit status is not 0."""
        if self.status:
            raise UserError(
                where or shlex.join(self.command),
                tr(f"exit status {self.status}", f"退出码 {self.status}"),
                tr("read the lines above", "请查看上面的输出"),
                details=self.screen[-SHOWN_OF_FAILED:].rstrip("\n"),
            )
        return self


def run_process(
    command: Sequence[str],
    environment: Mapping[str, str] | None = None,
    *,
    folder: str | Path | None = None,
    stdin: str = "",
    log: Path | None = None,
    cores: Sequence[int] | None = None,
    watch: Callable[[], object] | None = None,
) -> FinishedProcess:
    """Run `command` to its end, whatever its exit status; it reads `stdin` and nothing else.

    `environment` is the whole of it, this process's own by default, as `folder` is the working directory. What it
    prints goes into a file, so that it never waits for a reader: `log`, behind what is there, or one that is removed.
    `cores` are the numbers of the only cores that it may use. `watch` is called again and again while it runs.
    """

    def bind() -> None:
        os.sched_setaffinity(0, cores)

    with open(log, "ab+") if log else tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as typed:
        begin = out.seek(0, os.SEEK_END)
        typed.write(stdin.encode())
        typed.seek(0)
        started = time.perf_counter()
        process = subprocess.Popen(
            command,
            env=environment,
            cwd=folder,
            stdin=typed,
            stdout=out,
            stderr=subprocess.STDOUT,
            preexec_fn=bind if cores else None,
        )
        try:
            status, usage = _wait(process.pid, watch)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):  # Ctrl-C reached it too: it may end what it started itself
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(GRACE)
            process.kill()
            process.wait()
            raise
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)  # Popen did not wait itself
        out.seek(begin)
        screen = out.read().decode("utf-8", "replace")
    return FinishedProcess(
        command, process.returncode, screen, seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024
    )


def _wait(process: int, watch: Callable[[], object] | None) -> tuple[int, object]:
    """(wait status, resource usage) of a child process when it has ended."""
    while watch:
        ended, status, usage = os.wait4(process, os.WNOHANG)
        if ended:
            return status, usage
        watch()
        time.sleep(PAUSE)
    return os.wait4(process, 0)[1:]


def die_with_parent(by: signal.Signals = signal.SIGTERM) -> None:
    """Ask Linux for the signal `by` when the parent dies: a killed `make train` must not leave a trainer writing on."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1  # <sys/prctl.h>
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, by)
        if os.getppid() != int(os.environ.get(PARENT, os.getppid())):
            sys.exit(128 + signal.SIGTERM)  # it died before the request was made
