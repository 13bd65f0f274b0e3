"""Replacement and validation side by side with the published script: rows per second and memory.

Files are made from the source rows: `repeated` (the rows over and over), `distinct` (every question with a number of its
own, so that no memory of rows seen before helps) and `reordered` (distinct, with the keys of each turn in another order,
which only looking at each row can put right). Every run is a process of its own, bound to one core (two for
`--jobs 2`), start of Python included; runs of all programs take turns and the best of each counts, so that a busy machine
disturbs all alike. Outputs are compared byte by byte with the published script's.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lesson.bench.published_script import SCRIPT
from lesson.core.files import sha256
from lesson.core.layout import changed_rows
from lesson.core.messages import UserError, tr
from lesson.core.processes import FinishedProcess, run_process
from lesson.core.settings import ROOT
from lesson.data.rows import open_bytes

OLD, NEW = "尖米", "机智流"
PUBLISHED = "published script"
KINDS = ("repeated", "distinct", "reordered")
REORDERED = ("input", "output", "system")


@dataclass(frozen=True)
class Program:
    """A command line that is measured: on how many cores, where it writes, what it finds in its environment."""

    arguments: list[str]  # of Python
    cores: int
    output: Path
    variables: dict[str, str]


@dataclass
class BestOfRuns:
    """The shortest of a program's runs, its largest memory, and the SHA-256 of what the last one wrote."""

    seconds: float
    cpu_seconds: float
    peak_memory: int  # bytes
    output: str

    def add_run(self, done: FinishedProcess, output: str) -> None:
        self.seconds = min(done.seconds, self.seconds)
        self.cpu_seconds = min(done.cpu_seconds, self.cpu_seconds)
        self.peak_memory = max(done.peak_memory, self.peak_memory)
        self.output = output


def measure_data_stage(
    source: str,
    megabytes: int,
    runs: int,
    large: int,
    build: Path,
    report: Callable[[str], object],
    kinds: Sequence[str] = KINDS[:2],
) -> None:
    """Report how fast each program is on `megabytes` of rows of each of the `kinds`, the best of `runs`; then, unless
    `large` is 0, what it holds of `large` megabytes. Files go to a folder below `build` that is removed. Raises UserError."""
    build.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-data-", dir=build.resolve()) as place:
        folder = Path(place)
        for kind in kinds:
            path = folder / "rows.jsonl"
            rows = write_rows(source, path, megabytes * 1_000_000, kind)
            names = {"repeated": "各行重复", "distinct": "各行不同", "reordered": "各行不同，键的次序也不同"}
            report(f"{tr(kind, names[kind])}: {path.stat().st_size / 1e6:.0f} MB, {rows:,} rows")
            for line in comparison_lines(compare_programs(path, runs, folder), rows):
                report(line)
            path.unlink()
        if large:
            measure_large_file(source, large * 1_000_000, folder, report)


def write_rows(source: str, target: Path, size: int, kind: str) -> int:
    """Write about `size` bytes of rows from `source` to `target`, of one of KINDS; gives back how many rows."""
    with open_bytes(source) as file:
        rows = file.read(64 << 20).splitlines()
    if kind == "reordered":
        rows = [reorder_keys(row) for row in rows]
    written = count = 0
    with open(target, "wb") as out:
        while written < size:
            for row in rows:
                if kind != "repeated":
                    row = row.replace(b'"input": "', b'"input": "%d ' % count, 1)
                written += out.write(row + b"\n")
                count += 1
    return count


def reorder_keys(row: bytes) -> bytes:
    """A row with the keys of each turn in the order of REORDERED."""
    turns = json.loads(row)["conversation"]
    turns = [{key: turn[key] for key in REORDERED if key in turn} for turn in turns]
    return json.dumps({"conversation": turns}, ensure_ascii=False).encode()


def programs(source: Path, folder: Path) -> dict[str, Program]:
    """{name: program} of all that replace the name in the rows of `source`, writing into `folder`."""
    replaced, build, published = folder / "replaced.jsonl", folder / "build", folder / "published.jsonl"
    replace = ["-m", "recipe.replace", str(source), str(replaced), "--old_text", OLD, "--new_text", NEW]
    data = {"SRC": str(source), "OLD_NAME": OLD, "NEW_NAME": NEW, "BUILD": str(build)}
    script = [SCRIPT, str(source), str(published), OLD, NEW]
    return {
        PUBLISHED: Program(script, 1, published, {}),
        "replace": Program(replace, 1, replaced, {}),
        "replace --jobs 2": Program([*replace, "--jobs", "2"], 2, replaced, {}),
        "make data (validate, replace, validate, scan)": Program(["-m", "recipe.data"], 1, changed_rows(build), data),
    }


def run_program(program: Program) -> FinishedProcess:
    """One run on the first of the cores that this process may use. Raises UserError when it fails."""
    cores = sorted(os.sched_getaffinity(0))[: program.cores]
    command = [sys.executable, *program.arguments]
    done = run_process(command, {**os.environ, **program.variables}, folder=ROOT, cores=cores)
    return done.require_success(" ".join(program.arguments[:3])[:60])


def compare_programs(source: Path, runs: int, folder: Path) -> dict[str, BestOfRuns]:
    """{name: the best of `runs`} of all programs, which take turns."""
    best: dict[str, BestOfRuns] = {}
    for _ in range(runs):
        for name, program in programs(source, folder).items():
            shutil.rmtree(folder / "build", ignore_errors=True)
            program.output.unlink(missing_ok=True)  # nobody's run shall pay for freeing the pages of the one before
            done, output = run_program(program), sha256(program.output)
            if name in best:
                best[name].add_run(done, output)
            else:
                best[name] = BestOfRuns(done.seconds, done.cpu_seconds, done.peak_memory, output)
    return best


def comparison_lines(best: dict[str, BestOfRuns], rows: int) -> list[str]:
    """A line for each program: seconds, rows per second, times the published script's, CPU, memory, same output."""
    base = best[PUBLISHED]
    same, other = tr("same bytes", "字节相同"), tr("OTHER BYTES", "字节不同")
    return [
        f"  {name:<46} {run.seconds:7.2f} s {rows / run.seconds:11,.0f} rows/s {base.seconds / run.seconds:6.2f} x"
        f"  CPU {run.cpu_seconds:6.2f} s {base.cpu_seconds / run.cpu_seconds:6.2f} x {run.peak_memory / 2**20:6.0f} MiB"
        f"  {same if run.output == base.output else other}"
        for name, run in best.items()
    ]


def measure_large_file(source: str, size: int, folder: Path, report: Callable[[str], object]) -> None:
    """Report the memory that each of our programs takes for `size` bytes of distinct rows. Raises UserError."""
    path = folder / "large.jsonl"
    if shutil.disk_usage(folder).free < 2.5 * size:
        raise UserError(
            folder, tr("not enough disk space", "磁盘空间不足"), tr("set a smaller --large", "请减小 --large")
        )
    rows = write_rows(source, path, size, "distinct")
    report(f"large: {path.stat().st_size / 1e6:.0f} MB, {rows:,} rows")
    for name, program in programs(path, folder).items():
        if name != PUBLISHED:
            shutil.rmtree(folder / "build", ignore_errors=True)
            done = run_program(program)
            program.output.unlink(missing_ok=True)
            report(
                f"  {name:<46} {done.seconds:7.2f} s {rows / done.seconds:11,.0f} rows/s           "
                f"CPU {done.cpu_seconds:6.2f} s          {done.peak_memory / 2**20:6.0f} MiB"
            )
