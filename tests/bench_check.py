"""make bench-check: hundreds of tiny submissions with two jobs, and one of the 7B size; seconds and peak memory of each.

    python tests/bench_check.py [COUNT] [--jobs 2] [--build build/bench-check]

The submissions are made from tests/fixtures/submission: each with an adapter, losses and a log of its own, twenty names.
Exit status 1 when a bar of the README is missed or an honest submission does not pass.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import submissions  # noqa: E402

NAMES = 20
BARS = {"tiny": (180, None), "7b": (5, 300)}  # seconds, MiB: of 500 submissions with two jobs, and of one at 7B size


def make(folder: Path, count: int) -> None:
    """`count` zips in `folder`, and one of the 7B size beside it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    files = [submissions.with_name(f"星{chr(0x4E00 + number)}") for number in range(min(NAMES, count))]
    for number in range(count):
        own = submissions.with_training(dict(files[number % NAMES]), "tiny", shift=number * 1e-5)
        own[submissions.ADAPTER] = submissions.random_adapter.__wrapped__(seed=number)
        submissions.pack(own, folder / f"{number:04}.zip", f"s{number}")
    submissions.pack(submissions.honest_7b_files(), folder.with_name("7b.zip"))


def timed(*arguments: str) -> tuple[int, float, float, str]:
    """Exit status, seconds, peak MiB of the largest process, screen of `python -m recipe.…`."""
    code = (
        "import importlib, resource, sys; module = importlib.import_module('recipe.' + sys.argv[1]);"
        "status = module.main(sys.argv[2:]);"
        "peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN));"
        "print('PEAK', peak); sys.exit(status)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", "PROFILE": "tiny", "LANG": "C.UTF-8"}
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code, *arguments], env=environment, capture_output=True, text=True)
    seconds = time.monotonic() - started
    if "PEAK " not in done.stdout:
        sys.exit(done.stdout + done.stderr)
    screen, _, peak = done.stdout.rpartition("PEAK ")
    return done.returncode, seconds, int(peak) / 1024, screen


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("count", nargs="?", type=int, default=500)
    parser.add_argument("--jobs", default="2")
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "bench-check")
    options = parser.parse_args()
    folder, missed = options.build / "all", 0
    # In a process of its own: a child's peak counts what its parent held when it was forked.
    maker = multiprocessing.get_context("spawn").Process(target=make, args=(folder, options.count))
    maker.start()
    maker.join()
    if maker.exitcode:
        return 2
    lines = [("7b", "check", str(folder.with_name("7b.zip")))]
    lines += [("tiny", "check_all", str(folder), "--jobs", options.jobs, "--report", str(options.build / "all.csv"))]
    for size, *arguments in lines:
        status, seconds, peak, screen = timed(*arguments)
        most, memory = BARS[size]
        most = most * (options.count / 500 if size == "tiny" else 1)
        bad = status != 0 or seconds > most or (memory is not None and peak > memory)
        missed += bad
        what = f"{options.count} tiny submissions, {options.jobs} jobs" if size == "tiny" else "one of the 7B size"
        bar = f"bar {most:g} s" + (f", {memory} MiB" if memory else "")
        print(f"{what}: {seconds:.1f} s, {peak:.0f} MiB ({bar}){'  MISSED' if bad else ''}")
        if status:
            print(screen[-3000:])
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
