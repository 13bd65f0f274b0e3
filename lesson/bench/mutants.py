"""make mutants: single operators and numbers of the judging modules are changed; do the tests notice?

cosmic-ray (requirements-mutants.lock, in a venv of its own) lists and makes the changes, one at a time, in a copy of the
working tree, and runs the module's tests on each: its own first, then the fast ones of its room. Changes are drawn by a
seed, a place in the source at most once. What was tried stays in a session file, so that the same call goes on.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

from lesson.core.messages import UserError, tr
from lesson.core.processes import PARENT, die_with_parent
from lesson.core.settings import ROOT

TABLE_FILE = Path(__file__).with_name("mutants.json")  # its form: schemas/mutants.schema.json
_TABLE = json.loads(TABLE_FILE.read_text(encoding="utf-8"))
LEAST_FOUND: float = _TABLE["least_found"]
# One that runs for ever counts as found. Its tests get so many times what they take without a change, on a busy machine as
# well, and never less than so many seconds.
TIMES, LEAST_SECONDS = 6.0, 120.0
NOT_SLOW, ALL = "not torch and not slow and not gpu", "not torch and not gpu"


@dataclass(frozen=True)
class Mutant:
    """One change that was tried. `before` and `after` are its lines; `found` whether a test failed."""

    file: str
    line: int
    before: str
    after: str
    found: bool

    @property
    def excused(self) -> str | None:
        """The reason why no test needs to find it, where the table has one."""
        for entry in _TABLE["survivors"]:
            if (entry["file"], entry["before"], entry["after"]) == (self.file, self.before, self.after):
                return entry["why"]
        for kind in _TABLE["kinds"]:
            parts = self.before.split(kind["before"])
            for n in range(1, len(parts)):
                if kind["before"].join(parts[:n]) + kind["after"] + kind["before"].join(parts[n:]) == self.after:
                    return kind["why"]
        return None

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.before}  →  {self.after}"


def judging_modules(patterns: Sequence[str] = ()) -> list[str]:
    """The modules of the table, or those of them that match one of `patterns`. Raises UserError when none does."""
    files = sorted({p.relative_to(ROOT).as_posix() for pattern in _TABLE["modules"] for p in ROOT.glob(pattern)})
    files = [f for f in files if not any(fnmatchcase(f, pattern) for pattern in _TABLE["left_out"])]
    chosen = [f for f in files if not patterns or any(fnmatchcase(f, p) or p in f for p in patterns)]
    if not chosen:
        what = tr("none of the judging modules", "不是用于判断的模块")
        raise UserError(
            f"MODULES={' '.join(patterns)}", what, tr("use MODULES=lesson/config", "例如 MODULES=lesson/config")
        )
    return chosen


def tests_of(module: str) -> tuple[list[str], str]:
    """(test files that are run first, folder of the room's tests) of a module of the library."""
    path = Path(module).relative_to("lesson")
    first = [name for pattern, names in _TABLE["tests"].items() if fnmatchcase(module, pattern) for name in names]
    own = Path("tests") / path.with_name(f"test_{path.name}")
    return ([own.as_posix()] if (ROOT / own).exists() else []) + first, f"tests/{path.parts[0]}"


def copy_tree(folder: Path) -> Path:
    """A copy of the working tree in `folder`, without what git ignores. What Python compiled of an earlier copy stays."""
    done = subprocess.run(["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True)
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip()
        raise UserError(ROOT, reason, tr("run it in a clone of the repository", "请在仓库的克隆里运行"))
    tree = folder / "tree"
    names = {name for name in done.stdout.decode().split("\0") if name and (ROOT / name).is_file()}
    for path in [path for path in tree.rglob("*") if path.is_file() and "__pycache__" not in path.parts]:
        if path.relative_to(tree).as_posix() not in names:
            path.unlink()
    for name in names:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, tree / name)  # with its time, by which Python knows what it compiled
    return tree


def try_mutants(
    module: str, count: int, seed: int, folder: Path, tree: Path, tool: Path, passed: dict[str, float]
) -> list[Mutant]:
    """`count` changes of a module (0: all that there are), tried in `tree`; `tool` is the venv that has cosmic-ray.

    Raises UserError when the tests fail without a change; `passed` gets those that do not, with the seconds that they took,
    and they are not asked again.
    """
    session = session_file(module, count, seed, folder)
    settings = folder / f"{session.stem}.toml"
    if not session.exists():
        seconds = 0.0
        for command in _commands(module):  # without a change they pass, and compile what they import
            line = shlex.join(command)
            if line not in passed:
                start = time.monotonic()
                _run(command, tree)
                passed[line] = time.monotonic() - start
            seconds += passed[line]
        settings.write_text(_settings(module, folder, max(LEAST_SECONDS, TIMES * seconds)), encoding="utf-8")
        draft = folder / f"{session.stem}.draft"
        draft.unlink(missing_ok=True)
        _run([tool / "bin" / "cosmic-ray", "init", settings, draft], tree)
        draw(draft, count, random.Random(f"{seed} {module}"))
        draft.rename(session)
    _run([tool / "bin" / "cosmic-ray", "exec", settings, session], tree)
    return list(read_session(session))


def session_file(module: str, count: int, seed: int, folder: Path) -> Path:
    """Where what was tried stays. Another module, draw or text of the module or of its tests is another session."""
    first, room = tests_of(module)
    parts = [*(ROOT / name for name in (module, *first)), *sorted((ROOT / room).rglob("*.py"))]
    digest = hashlib.sha256(b"".join(map(Path.read_bytes, parts)) + f"{count} {seed}".encode()).hexdigest()[:12]
    return folder / f"{module.removesuffix('.py').replace('/', '.')}-{digest}.sqlite"


def draw(session: Path, count: int, choose: random.Random) -> None:
    """Leave `count` changes in a new session, each at a place of its own, of the operators of the table; all for 0."""
    with closing(sqlite3.connect(session)) as base, base:
        places: dict[tuple, list[str]] = {}
        rows = base.execute("SELECT job_id, operator_name, start_pos_row, start_pos_col FROM mutation_specs")
        for job, operator, *place in sorted(rows, key=lambda row: (row[2], row[3], row[1], row[0])):
            if _is_wanted(operator):
                places.setdefault(tuple(place), []).append(job)
        if count:
            kept = [choose.choice(jobs) for jobs in places.values()]
            kept = choose.sample(kept, min(count, len(kept)))
        else:
            kept = [job for jobs in places.values() for job in jobs]
        for table in ("mutation_specs", "work_items"):
            marks = ",".join("?" * len(kept))
            base.execute(f"DELETE FROM {table} WHERE job_id NOT IN ({marks})", kept)


def _is_wanted(operator: str) -> bool:
    wanted, left_out = _TABLE["operators"], _TABLE["operators_left_out"]
    return any(fnmatchcase(operator, p) for p in wanted) and not any(fnmatchcase(operator, p) for p in left_out)


def read_session(session: Path) -> Iterator[Mutant]:
    """The changes of a session that were tried."""
    with closing(sqlite3.connect(session)) as base:
        rows = base.execute(
            "SELECT module_path, start_pos_row, diff, test_outcome FROM mutation_specs JOIN work_results USING (job_id)"
            " WHERE worker_outcome = 'NORMAL' ORDER BY start_pos_row, start_pos_col"
        ).fetchall()
    for module, line, diff, outcome in rows:
        before, after = (
            " ".join(text[1:].strip() for text in diff.splitlines() if text[:1] == sign and text[:3] != sign * 3)
            for sign in "-+"
        )
        yield Mutant(module, line, before, after, outcome.upper() != "SURVIVED")


def _commands(module: str) -> list[list[str]]:
    """What runs the tests of a module: its own first, then others file by file, then those of its room.

    A file is a command of its own, so that what many modules share is asked once without a change.
    """
    first, room = tests_of(module)
    python = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    return [*([*python, file, "-m", ALL] for file in first), [*python, room, "-m", NOT_SLOW]]


def _settings(module: str, folder: Path, timeout: float) -> str:
    """The settings of cosmic-ray; `timeout` in seconds, for all tests of one change."""
    commands = folder / f"{module.removesuffix('.py').replace('/', '.')}.json"
    commands.write_text(json.dumps(_commands(module), indent=1), encoding="utf-8")
    command = shlex.join([sys.executable, "-m", "lesson.bench.mutant_tests", str(commands)])
    values = {"module-path": module, "timeout": timeout, "excluded-modules": [], "test-command": command}
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]
    return "\n".join(["[cosmic-ray]", *lines, "[cosmic-ray.distributor]", 'name = "local"', ""])


def _run(command: Sequence[object], folder: Path) -> None:
    """Run `command` in `folder`, and let it end with this process: else its last test would run on when this is killed."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS", PARENT))}
    done = subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env=environment,
        preexec_fn=partial(die_with_parent, signal.SIGKILL),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        remedy = tr("make test-fast shows it", "请运行 make test-fast 查看")
        last = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        raise UserError(
            Path(str(command[0])).name, tr("failed without a change", "未改动时也失败"), remedy, details=last
        )


def share_found(mutants: Sequence[Mutant]) -> float:
    """The share of the changes that were found, those with a reason left out; 1 where there are none."""
    counted = [mutant for mutant in mutants if mutant.found or not mutant.excused]
    return sum(mutant.found for mutant in counted) / len(counted) if counted else 1.0


def lines_of(mutants: Sequence[Mutant]) -> list[str]:
    """What the user reads of one module, or of all."""
    found = sum(mutant.found for mutant in mutants)
    excused = sum(not mutant.found and mutant.excused is not None for mutant in mutants)
    share = share_found(mutants)
    count = tr(
        f"{found} of {len(mutants)} changes found, {excused} with a reason: {share:.0%}",
        f"{len(mutants)} 处改动发现 {found} 处，{excused} 处有理由不必发现：{share:.0%}",
    )
    return [count, *(f"  {mutant}" for mutant in mutants if not mutant.found and not mutant.excused)]
