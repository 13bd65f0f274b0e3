"""make bench: measure the figures of the README's table on this machine, in one run, and print them beside their bars.

Two whole lessons in empty folders (build/bench/a and b, same seed), a third with SPEED=fast, the evaluation of the first
and the third, and the two test commands. Takes about twenty minutes on two cores; nothing of it is timed by a test.
"""

from __future__ import annotations

import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from lesson.core import cli
from lesson.core.files import read_json, sha256, write_json
from lesson.core.layout import last_run_link
from lesson.core.messages import UserError, tr
from lesson.core.settings import ROOT, Values
from lesson.runs.curve import CURVE, read_curve
from lesson.runs.folder import Run

SETTINGS = ["NEW_NAME"]


@dataclass
class Figure:
    """One row of the table."""

    name: str
    measured: str
    bar: str
    met: bool


def timed(command: list[str], **variables: str) -> tuple[float, int, str]:
    """(wall seconds, largest resident set in bytes of any process of it, output) of `command`. Raises UserError."""
    environment = {**os.environ, **variables}
    started = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    if os.waitstatus_to_exitcode(status):
        print(output[-3000:], file=sys.stderr)
        raise UserError(" ".join(command), tr("failed", "失败"), tr("read the lines above", "请查看上面的输出"))
    return seconds, usage.ru_maxrss * 1024, output


def lesson(build: Path, name: str, speed: str = "stock") -> tuple[float, int]:
    """Wall seconds of `make data && make train` in the empty folder `build`, and the peak memory of its processes."""
    shutil.rmtree(build, ignore_errors=True)
    print(tr(f"make data && make train in {build}", f"在 {build} 中运行 make data && make train"), flush=True)
    common = {"BUILD": str(build), "NEW_NAME": name, "PROFILE": "tiny", "SPEED": speed}
    spent = [timed(["make", "-s", target], **common) for target in ("data", "train")]
    return sum(s for s, *_ in spent), max(m for _, m, _ in spent)


def last_run(build: Path) -> Run:
    """The run that was trained last in `build`."""
    return Run(last_run_link(build))


def step_time(build: Path) -> float:
    """The median step of the run in `build`, in seconds."""
    return statistics.median(line["seconds"] for line in read_curve(last_run(build).work_dir / CURVE)[1:])


def evaluated(build: Path) -> dict:
    print(f"make eval in {build}", flush=True)
    environment = {**os.environ, "BUILD": str(build), "PROFILE": "tiny"}
    subprocess.run(["make", "-s", "eval"], env=environment, stdout=subprocess.DEVNULL)
    return read_json(last_run(build).evaluation / "evaluation.json", "")


def adapter_hash(build: Path, name: str) -> str:
    timed(["make", "-s", "convert"], BUILD=str(build), NEW_NAME=name, PROFILE="tiny")
    return sha256(last_run(build).adapter / "adapter_model.safetensors")


def bench(values: Values) -> int:
    root = Path("build") / "bench"
    name = values.new_name
    one, two, three = root / "a", root / "b", root / "c"
    seconds, memory = lesson(one, name)
    again, _ = lesson(two, name)
    fast, _ = lesson(three, name, "fast")
    ratio = step_time(two) / step_time(three)
    curves = [read_json(last_run(build).record, "")["curve"] for build in (one, two)]
    same = curves[0] == curves[1] and adapter_hash(one, name) == adapter_hash(two, name)
    result, fast_result = evaluated(one), evaluated(three)
    scores = [min(c["new"] / c["questions"] for c in r["prompts"]) for r in (result, fast_result)]
    figures = [
        Figure(
            "make data && make train",
            f"{seconds:.0f} s, again {again:.0f} s",
            "at most 150 s",
            max(seconds, again) <= 150,
        ),
        Figure("peak memory of one process", f"{memory / 2**30:.2f} GiB", "under 4 GB", memory < 4e9),
        *evaluation_figures(result),
        Figure("SPEED=fast: a step, over stock's", f"{ratio:.2f} ({fast:.0f} s in all)", "at least 1.5", ratio >= 1.5),
        Figure(
            "SPEED=fast: right name, lowest", f"{scores[1]:.0%}", f"stock's {scores[0]:.0%}", scores[1] >= scores[0]
        ),
        Figure("same seed twice", "identical" if same else "different", "identical losses and adapter bytes", same),
        Figure("make test-fast", *test_time("test-fast", 20)),
        Figure("make test", *test_time("test", 360)),
    ]
    print(f"\n{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, name {name}")
    print("| figure | measured | bar |\n|---|---|---|")
    for figure in figures:
        print(f"| {figure.name} | {figure.measured} | {figure.bar}{'' if figure.met else ' — MISSED'} |")
    write_json(root / "figures.json", [figure.__dict__ for figure in figures])
    print(f"{root / 'figures.json'}")
    return 0 if all(figure.met for figure in figures) else 1


def evaluation_figures(result: dict) -> list[Figure]:
    missed = {failure["bar"] for failure in result["failures"]}

    def each(part: str, whole: str) -> str:
        return ", ".join(f"{c['prompt']} {c[part]}/{c[whole]}" for c in result["prompts"])

    return [
        Figure(
            "right name, questions never trained on", each("new", "questions"), "at least 95% each", "new" not in missed
        ),
        Figure("old name", each("old", "answers"), "persona 0, else at most 2%", "old" not in missed),
        Figure("base's name", each("base", "answers"), "persona 0, else at most 2%", "base" not in missed),
        Figure(
            "general questions kept",
            each("general_kept", "general_base_right"),
            "at least 90%",
            "general_kept" not in missed,
        ),
        Figure("whole answers", each("whole", "answers"), "at least 90%", "whole" not in missed),
    ]


def test_time(target: str, limit: float) -> tuple[str, str, bool]:
    print(f"make {target}", flush=True)
    seconds, _, output = timed(["make", "-s", target])
    return f"{seconds:.0f} s ({output.strip().splitlines()[-1].strip('= ')})", f"under {limit:.0f} s", seconds < limit


def main(arguments: list[str] | None = None) -> int:
    os.chdir(ROOT)
    return cli.run("bench", __doc__, SETTINGS, bench, sys.argv[1:] if arguments is None else arguments)
