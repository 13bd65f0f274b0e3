"""Seconds and peak memory of the checker: on many tiny submissions with several jobs, and on one of the 7B size."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lesson.bench.stages import run_stage
from lesson.core.processes import FinishedProcess, run_process

BARS = {"tiny": (180, None), "7b": (5, 300)}  # seconds, MiB: of 500 submissions with two jobs, and of one at 7B size
BAR_COUNT = 500  # the number of tiny submissions that the bar is for
VARIABLES = {"PROFILE": "tiny", "LANG": "C.UTF-8", "PYTHONUTF8": "1"}


@dataclass(frozen=True)
class CheckerTime:
    """One call of the checker, and its bars: seconds, and MiB if there is one."""

    what: str
    done: FinishedProcess
    most_seconds: float
    most_memory: int | None

    @property
    def memory(self) -> float:
        """Peak memory in MiB of its largest process."""
        return self.done.peak_memory / 2**20

    @property
    def met(self) -> bool:
        """Whether it stayed within its bars, and every submission passed."""
        within = self.most_memory is None or self.memory <= self.most_memory
        return self.done.status == 0 and self.done.seconds <= self.most_seconds and within


def make_submissions(maker: Path, folder: Path, count: int) -> None:
    """Run the script `maker`: FOLDER/all with `count` tiny submissions, and FOLDER/7b.zip. Raises UserError.

    In a process of its own: a child's peak counts what its parent held when it was started.
    """
    run_process([sys.executable, str(maker), str(folder / "all"), str(count)]).require_success(maker)


def measure_checker(folder: Path, count: int, jobs: str) -> Iterator[CheckerTime]:
    """The checker on what `make_submissions` made."""
    one = run_stage("check", VARIABLES, [str(folder / "7b.zip")], may_fail=True)
    yield CheckerTime("one of the 7B size", one, *BARS["7b"])
    arguments = [str(folder / "all"), "--jobs", jobs, "--report", str(folder / "all.csv")]
    many = run_stage("check_all", VARIABLES, arguments, may_fail=True)
    seconds, memory = BARS["tiny"]
    yield CheckerTime(f"{count} tiny submissions, {jobs} jobs", many, seconds * count / BAR_COUNT, memory)


def lines_of(time: CheckerTime) -> list[str]:
    """A line with figures and bars; under it what the checker printed, when a submission did not pass."""
    bar = f"bar {time.most_seconds:g} s" + (f", {time.most_memory} MiB" if time.most_memory else "")
    missed = "" if time.met else "  MISSED"
    line = f"{time.what}: {time.done.seconds:.1f} s, {time.memory:.0f} MiB ({bar}){missed}"
    return [line, time.done.screen[-3000:]] if time.done.status else [line]
