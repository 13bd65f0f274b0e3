"""Training sessions that start in a second instead of ten: a process that has imported XTuner, and forks for each.

Run as a script it reads one JSON line at a time, {"arguments": of lesson.training.engine, "console": path, "limit": bytes
that a file may have, or null}, forks, and answers with the child's process ID; the child is the real engine. `Sessions` is the
other end. `session` goes on with a run; `assert_same` holds what two of them left against each other.
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
from lesson.runs.checkpoint import find_checkpoint
from lesson.runs.curve import CURVE, read_curve
from lesson.runs.folder import Run


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


def session(config: Path, sessions: Sessions, run: Run, limit: int | None = None) -> int:
    """Start a session that goes on from the run's last whole checkpoint; its process ID."""
    run.work_dir.mkdir(parents=True, exist_ok=True)
    arguments = ["train", str(config), "--work-dir", str(run.work_dir)]
    last = find_checkpoint(run.work_dir)
    return sessions.start(arguments + (["--resume", str(last)] if last else []), run.console, limit)


def state_of(run: Run) -> tuple[list, dict]:
    """(losses, every tensor of the last checkpoint: LoRA weights and the optimizer's moments)."""
    import torch

    lines = [(line["step"], line["loss"]) for line in read_curve(run.work_dir / CURVE)[1:]]
    saved = torch.load(find_checkpoint(run.work_dir), weights_only=False)
    moments = {f"{i}.{key}": value for i, state in saved["optimizer"]["state"].items() for key, value in state.items()}
    return lines, saved["state_dict"] | moments


def assert_same(run: Run, reference: Run) -> None:
    """The same losses, and the same checkpoint in every bit."""
    import torch

    (curve, tensors), (expected, weights) = state_of(run), state_of(reference)
    assert curve == expected
    assert tensors.keys() == weights.keys()
    assert all(torch.equal(tensors[key], weights[key]) for key in weights)


def steps(run: Run) -> int:
    """Steps in the run's curve."""
    return max(len(read_curve(run.work_dir / CURVE)) - 1, 0)


def points(run: Run) -> list[tuple[int, float]]:
    """(step, loss) of the run's curve."""
    return [(line["step"], line["loss"]) for line in read_curve(run.work_dir / CURVE)[1:]]


def ranks_of(pid: int) -> dict[str, int]:
    """{RANK: process ID} of the trainers below process `pid`."""
    found, waiting = {}, [pid]
    while waiting:
        folder = Path(f"/proc/{waiting.pop()}")
        variables = dict(v.split("=", 1) for v in (folder / "environ").read_text().split("\0") if "=" in v)
        if "RANK" in variables and "GROUP_RANK" in variables:
            found[variables["RANK"]] = int(folder.name)
            continue
        waiting += [
            int(child) for task in (folder / "task").iterdir() for child in (task / "children").read_text().split()
        ]
    return found


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
