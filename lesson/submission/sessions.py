"""Which training a plain folder is about, among the logs that lie in it: told by what they say, not by their names.

XTuner begins a folder named by the time for each session, with a log and vis_data. A run that was resumed has several; and
beside a finished run there may be one that was broken off earlier or later, or the same log once more as the console
showed it, without years.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from lesson.submission.training_log import Point, TrainingLog

MOST_SESSIONS = 20  # of a run that was resumed again and again


@dataclass(frozen=True)
class Session:
    """One log file."""

    name: str
    log: TrainingLog

    @property
    def folder(self) -> str | None:
        """XTuner's folder of the session (work_dir/20261124_150339/), or None."""
        match = re.match(r"(?:.*/)?\d{8}_\d{6}/", self.name)
        return match[0] if match else None

    @functools.cached_property
    def work_dir(self) -> str:
        """The folder above XTuner's folder of the session; of another log, its own."""
        return (self.folder or self.name).rstrip("/").rpartition("/")[0]

    @property
    def points(self) -> list[Point]:
        return self.log.points

    @functools.cached_property
    def every(self) -> int:
        """Steps from one line to the next."""
        return max([1, *(b.step - a.step for a, b in itertools.pairwise(self.points))])

    @property
    def begins_anew(self) -> bool:
        return self.points[0].step <= self.every

    @functools.cached_property
    def start(self) -> datetime:
        return self.points[0].at or datetime.min


@dataclass(frozen=True)
class FoundRun:
    """The sessions of one run in their order: the first began it, each other went on where one before it had been."""

    sessions: list[Session] = field(default_factory=list)

    @property
    def last(self) -> Session:
        return self.sessions[-1]

    @property
    def finished(self) -> bool:
        """Whether its last line is the last that mmengine writes of so many steps, and nothing before it is missing."""
        point = self.last.points[-1]
        return self.sessions[0].begins_anew and point.total - point.step < max(s.every for s in self.sessions)

    @property
    def rate(self) -> float:
        """The highest learning rate that was logged."""
        return max((p.lr for s in self.sessions for p in s.points if p.lr == p.lr), default=0.0)

    @property
    def samples(self) -> int | None:
        return next((s.log.samples for s in reversed(self.sessions) if s.log.samples is not None), None)


def find_runs(sessions: Sequence[Session]) -> list[FoundRun]:
    """The runs that the sessions may make up, all of which have steps. A run that went on is there with and without that."""
    found: list[FoundRun] = []
    by_folder: dict[str, list[Session]] = {}
    for session in sessions:
        if session.points:
            by_folder.setdefault(session.work_dir, []).append(session)
    for group in by_folder.values():
        runs: list[FoundRun] = []
        for session in sorted(group, key=lambda s: (s.start, s.name)):
            before = [] if session.begins_anew or session.folder is None else [r for r in runs if _goes_on(r, session)]
            runs.append(FoundRun([*before[-1].sessions, session][-MOST_SESSIONS:] if before else [session]))
        found += runs
    return found


def _goes_on(run: FoundRun, session: Session) -> bool:
    """Whether the session may have been resumed from a checkpoint of the run."""
    last, first = run.last.points[-1], session.points[0]
    return last.total == first.total and first.step <= last.step + max(run.last.every, session.every)
