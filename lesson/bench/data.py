"""make bench-data: replacement and validation side by side with the published script, rows per second and memory.

    python -m recipe.bench_data [--megabytes 100] [--runs 3] [--large 2000] [--src FILE]

Two files are made from the source rows: `repeated` (the rows over and over) and `distinct` (every question with a number
of its own, so that no memory of rows seen before helps). Every run is a process of its own, bound to one core (two for
`--jobs 2`), start of Python included; runs of all programs take turns and the best of each counts, so that a busy machine
disturbs all alike. Outputs are compared byte by byte with the published script's.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from lesson.core import cli
from lesson.core.files import sha256
from lesson.core.layout import changed_rows
from lesson.core.messages import UserError, set_language, tr
from lesson.core.settings import SETTINGS, Values
from lesson.data.rows import open_bytes

OLD, NEW = "尖米", "机智流"
# The lesson's script (change_script.py) as one would type it: the pace to beat.
PUBLISHED = """
import json, sys

def replace(value, old, new):
    if isinstance(value, str):
        return value.replace(old, new)
    if isinstance(value, list):
        return [replace(item, old, new) for item in value]
    if isinstance(value, dict):
        return {key: replace(item, old, new) for key, item in value.items()}
    return value

source, target, old, new = sys.argv[1:]
with open(source, encoding="utf-8") as file, open(target, "w", encoding="utf-8") as out:
    for line in file:
        out.write(json.dumps(replace(json.loads(line), old, new), ensure_ascii=False) + "\\n")
"""


def make_file(source: str, target: Path, size: int, distinct: bool) -> int:
    """Write about `size` bytes of rows from `source` to `target`; gives back how many rows."""
    with open_bytes(source) as file:
        rows = file.read(64 << 20).splitlines()
    written = count = 0
    with open(target, "wb") as out:
        while written < size:
            for row in rows:
                if distinct:
                    row = row.replace(b'"input": "', b'"input": "%d ' % count, 1)
                written += out.write(row + b"\n")
                count += 1
    return count


def measure(arguments: list[str], cores: int, environment: dict[str, str]) -> tuple[float, float, float]:
    """(seconds by the clock, seconds of CPU, peak memory in MiB of the first process) of one run.

    Raises UserError when it failed.
    """
    available = sorted(os.sched_getaffinity(0))[:cores]
    start = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        os.sched_setaffinity(0, available)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        os.execve(sys.executable, [sys.executable, *arguments], environment)
    _, status, usage = os.wait4(pid, 0)
    seconds = time.perf_counter() - start
    if status:
        raise UserError(" ".join(arguments[:3])[:60], tr("failed", "失败"), tr("run it by itself", "请单独运行查看"))
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def programs(source: Path, folder: Path) -> dict[str, tuple[list[str], int, Path, dict[str, str]]]:
    """name: (arguments, cores, output, further environment)"""
    replaced, build = folder / "replaced.jsonl", folder / "build"
    replace = ["-m", "recipe.replace", str(source), str(replaced), "--old_text", OLD, "--new_text", NEW]
    data = {"SRC": str(source), "OLD_NAME": OLD, "NEW_NAME": NEW, "BUILD": str(build)}
    published = folder / "published.jsonl"
    return {
        "published script": (["-c", PUBLISHED, str(source), str(published), OLD, NEW], 1, published, {}),
        "replace": (replace, 1, replaced, {}),
        "replace --jobs 2": ([*replace, "--jobs", "2"], 2, replaced, {}),
        "make data (validate, replace, validate, scan)": (["-m", "recipe.data"], 1, changed_rows(build), data),
    }


def bench(source: Path, rows: int, runs: int, folder: Path) -> None:
    best: dict[str, float] = {}
    worked: dict[str, float] = {}
    peak: dict[str, float] = {}
    hashes: dict[str, str] = {}
    for _ in range(runs):
        for name, (arguments, cores, output, more) in programs(source, folder).items():
            shutil.rmtree(folder / "build", ignore_errors=True)
            output.unlink(missing_ok=True)  # nobody's run shall pay for freeing the pages of the one before
            seconds, cpu, memory = measure(arguments, cores, {**os.environ, **more})
            worked[name] = min(cpu, worked.get(name, cpu))
            best[name] = min(seconds, best.get(name, seconds))
            peak[name] = max(memory, peak.get(name, memory))
            hashes[name] = sha256(output)
    base = best["published script"]
    for name, seconds in best.items():
        same = (
            tr("same bytes", "字节相同")
            if hashes[name] == hashes["published script"]
            else tr("OTHER BYTES", "字节不同")
        )
        print(
            f"  {name:<46} {seconds:7.2f} s {rows / seconds:11,.0f} rows/s {base / seconds:6.2f} x"
            f"  CPU {worked[name]:6.2f} s {worked['published script'] / worked[name]:6.2f} x {peak[name]:6.0f} MiB  {same}",
            flush=True,
        )


def bench_large(source: str, size: int, folder: Path) -> None:
    """Memory on a file of `size` bytes, of distinct rows."""
    path = folder / "large.jsonl"
    free = shutil.disk_usage(folder).free
    if free < 2.5 * size:
        raise UserError(
            folder, tr("not enough disk space", "磁盘空间不足"), tr("set a smaller --large", "请减小 --large")
        )
    rows = make_file(source, path, size, distinct=True)
    print(f"large: {path.stat().st_size / 1e6:.0f} MB, {rows:,} rows")
    for name, (arguments, cores, output, more) in programs(path, folder).items():
        if name != "published script":
            shutil.rmtree(folder / "build", ignore_errors=True)
            seconds, cpu, memory = measure(arguments, cores, {**os.environ, **more})
            output.unlink(missing_ok=True)
            print(
                f"  {name:<46} {seconds:7.2f} s {rows / seconds:11,.0f} rows/s           CPU {cpu:6.2f} s          {memory:6.0f} MiB",
                flush=True,
            )


def _main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m recipe.bench_data", description=__doc__.splitlines()[0])
    parser.add_argument("--src", default=SETTINGS["SRC"].default, metavar="FILE")
    parser.add_argument("--megabytes", type=int, default=100, metavar="MB")
    parser.add_argument("--runs", type=int, default=3, metavar="N")
    parser.add_argument("--large", type=int, default=2000, metavar="MB", help=tr("0 leaves it out", "0 为不测"))
    parser.add_argument("--lang", default=None)
    options = parser.parse_args(arguments)
    set_language(options.lang)
    if not 1 <= options.megabytes <= 10_000 or not 1 <= options.runs <= 100 or not 0 <= options.large <= 100_000:
        raise UserError(
            "--megabytes, --runs, --large", tr("out of range", "超出范围"), "--megabytes 100 --runs 3 --large 2000"
        )
    build = Values({}).build
    build.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-data-", dir=build) as place:
        folder = Path(place)
        for distinct in (False, True):
            path = folder / "rows.jsonl"
            rows = make_file(options.src, path, options.megabytes * 1_000_000, distinct)
            kind = tr("distinct", "各行不同") if distinct else tr("repeated", "各行重复")
            print(f"{kind}: {path.stat().st_size / 1e6:.0f} MB, {rows:,} rows", flush=True)
            bench(path, rows, options.runs, folder)
            path.unlink()
        if options.large:
            bench_large(options.src, options.large * 1_000_000, folder)
    return 0


def main(arguments: Sequence[str], stdout=None, stderr=None) -> int:
    """Exit status: 0 measured, 2 unusable input."""
    return cli.guarded(lambda: _main(arguments), stdout, stderr)
