"""Training sessions that start in a second instead of ten: a process that has imported XTuner, and forks for each.

Run as a script it reads one JSON line at a time, {"arguments": of lesson.training.engine, "console": path, "limit": bytes
that a file may have, or null}, forks, and answers with the child's process ID; the child is the real engine. `Sessions` is the
other end.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

from lesson.core.processes import PARENT
from lesson.core.settings import ROOT


class Sessions:
    """Starts sessions of lesson.training.engine; a context manager, at whose end the process that forks them ends too."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__],
            cwd=ROOT,
            env=environment | {"PYTHONPATH": str(ROOT), PARENT: str(os.getpid())},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Sessions:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stdin.close()
        self.process.wait(30)

    def start(self, arguments: list[str], console: Path, limit: int | None = None) -> int:
        """The process ID of a new session. Its end is told by `wait`."""
        line = json.dumps({"arguments": arguments, "console": str(console), "limit": limit})
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def wait(self) -> int:
        """The exit status of the session started last; -9 when it was killed."""
        return int(self.process.stdout.readline())


def main() -> None:
    import xtuner.tools.train  # noqa: F401 (what takes the time)

    from lesson.training import engine

    for line in sys.stdin:
        order = json.loads(line)
        os.environ[PARENT] = str(os.getpid())
        child = os.fork()
        if child == 0:
            console = os.open(order["console"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(console, 1)
            os.dup2(console, 2)
            if order["limit"]:
                resource.setrlimit(resource.RLIMIT_FSIZE, (order["limit"], order["limit"]))
            status = 1
            try:
                status = engine.main(order["arguments"])
            except SystemExit as stop:
                status = stop.code if isinstance(stop.code, int) else 1
            except BaseException:
                import traceback

                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
