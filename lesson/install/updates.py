"""Newer versions of what the locks are compiled from, as `pip index versions` tells them. Nothing is changed."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from lesson.core.messages import tr
from lesson.core.settings import ROOT
from lesson.install.setup import first_pin, parse_lock

AT_ONCE = 4  # processes of pip; each waits for the index most of the time
PATIENCE = 60.0  # seconds for one answer
FOUND = re.compile(r"^(\S+) \(([^)]+)\)$", re.MULTILINE)  # pip's first line: `name (its newest version)`


@dataclass(frozen=True)
class Locked:
    """A package of a requirements file: its version in the lock, and which ones the file allows, as `==2.14.1`."""

    name: str
    version: str
    allowed: str
    file: str


@dataclass(frozen=True)
class Answer:
    """What the index said of a package: its newest version, or the problem."""

    locked: Locked
    newest: str = ""
    problem: str = ""

    @property
    def is_newer(self) -> bool:
        try:
            return bool(self.newest) and Version(self.newest) > Version(self.locked.version)
        except InvalidVersion:
            return False


def read_locked(folder: Path = ROOT) -> list[Locked]:
    """What the requirements*.in of `folder` name, each package once, with its version in the lock beside."""
    found: dict[str, Locked] = {}
    for path in sorted(folder.glob("requirements*.in")):
        lock = path.with_suffix(".lock")
        pins = parse_lock(lock.read_text(encoding="utf-8")) if lock.is_file() else {}
        for line in path.read_text(encoding="utf-8").splitlines():
            if not (text := line.partition("#")[0].strip()):
                continue
            wanted = Requirement(text)
            name = re.sub(r"[-_.]+", "-", wanted.name).lower()
            if name in pins:
                version = first_pin(pins[name]).split("==")[1]
                found.setdefault(f"{name}=={version}", Locked(name, version, str(wanted.specifier), path.name))
    return list(found.values())


def ask_pip(name: str) -> tuple[str, str]:
    """(newest version that this Python could install, "") by `pip index versions`, or ("", why there is none)."""
    command = [sys.executable, "-m", "pip", "index", "versions", "--disable-pip-version-check", "--no-input", name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return "", tr(f"no answer in {PATIENCE:.0f} s", f"{PATIENCE:.0f} 秒内没有回答")
    match = FOUND.search(done.stdout)
    if done.returncode or not match:
        return "", (done.stderr.strip().splitlines() or ["?"])[-1]
    return match[2], ""


def find_updates(packages: Sequence[Locked], ask: Callable[[str], tuple[str, str]] = ask_pip) -> list[Answer]:
    """The index's answer for each package, in their order; a name is asked for once."""
    names = list(dict.fromkeys(package.name for package in packages))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = dict(zip(names, pool.map(ask, names), strict=True))
    return [Answer(package, *answers[package.name]) for package in packages]


def lines_of(answers: Iterable[Answer]) -> list[str]:
    """What the user reads: those with something newer, those without an answer, and what to do."""
    answers = list(answers)
    newer = [answer for answer in answers if answer.is_newer]
    lines = []
    for answer in newer:
        locked = answer.locked
        fits = SpecifierSet(locked.allowed).contains(answer.newest, prereleases=True)
        says = f"{locked.file}: {locked.allowed}"
        why = "" if fits else tr(f" ({says})", f"（{says}）")
        lines.append(f"{locked.name} {locked.version} → {answer.newest}{why}")
    lines += [f"{answer.locked.name} {answer.locked.version}: {answer.problem}" for answer in answers if answer.problem]
    lines.append(
        tr(
            f"{len(newer)} of {len(answers)} packages have a newer version; make lock takes those that the files allow",
            f"{len(answers)} 个软件包中有 {len(newer)} 个有新版本；make lock 会采用文件允许的",
        )
    )
    return lines
