"""The figures of the lesson at tiny on this machine, beside their bars: time, memory, what it says, the tests' time."""

from __future__ import annotations

import os
import platform
import re
import shutil
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lesson.bench.stages import run_target
from lesson.core.files import read_json, sha256, write_json
from lesson.core.layout import last_run_link
from lesson.core.messages import tr
from lesson.runs.curve import CURVE, read_curve
from lesson.runs.folder import Run

FOLDER = Path("build") / "bench"
FIGURES = FOLDER / "figures.json"
TESTS_PASSED = re.compile(r"\d+ passed\b.* in \d")  # in pytest's closing line


@dataclass(frozen=True)
class Figure:
    """One row of the table."""

    name: str
    measured: str
    bar: str
    met: bool


def measure_lesson(name: str, report: Callable[[str], object]) -> list[Figure]:
    """All figures, written to FIGURES too, with `name` as the new name; `report` is told what begins.

    Trains in the folders FOLDER/a, b (same seed) and c (SPEED=fast), which it empties. Raises UserError.
    """
    one, two, three = FOLDER / "a", FOLDER / "b", FOLDER / "c"
    seconds, memory = train_lesson(one, name, "stock", report)
    again, _ = train_lesson(two, name, "stock", report)
    fast, _ = train_lesson(three, name, "fast", report)
    ratio = median_step(two) / median_step(three)
    curves = [read_json(last_run(build).record, "")["curve"] for build in (one, two)]
    same = curves[0] == curves[1] and hash_adapter(one, name) == hash_adapter(two, name)
    result, fast_result = evaluate_lesson(one, report), evaluate_lesson(three, report)
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
        time_tests("test-fast", 20, report),
        time_tests("test", 360, report),
    ]
    write_json(FIGURES, [asdict(figure) for figure in figures])
    return figures


def lines_of(figures: Sequence[Figure], name: str) -> list[str]:
    """The machine, and the table in Markdown."""
    return [
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, name {name}",
        "| figure | measured | bar |",
        "|---|---|---|",
        *(f"| {f.name} | {f.measured} | {f.bar}{'' if f.met else ' — MISSED'} |" for f in figures),
    ]


def train_lesson(build: Path, name: str, speed: str, report: Callable[[str], object]) -> tuple[float, int]:
    """Wall seconds of `make data && make train` in the empty folder `build`, and their processes' peak memory in bytes."""
    shutil.rmtree(build, ignore_errors=True)
    report(tr(f"make data && make train in {build}", f"在 {build} 中运行 make data && make train"))
    variables = {"BUILD": str(build), "NEW_NAME": name, "PROFILE": "tiny", "SPEED": speed}
    done = [run_target(target, variables).require_success() for target in ("data", "train")]
    return sum(process.seconds for process in done), max(process.peak_memory for process in done)


def last_run(build: Path) -> Run:
    """The run that was trained last in `build`."""
    return Run(last_run_link(build))


def median_step(build: Path) -> float:
    """The median step of the run in `build`, in seconds."""
    return statistics.median(line["seconds"] for line in read_curve(last_run(build).work_dir / CURVE)[1:])


def evaluate_lesson(build: Path, report: Callable[[str], object]) -> dict:
    """The evaluation of the run in `build`, good enough or not."""
    report(f"make eval in {build}")
    run_target("eval", {"BUILD": str(build), "PROFILE": "tiny"})
    return read_json(last_run(build).evaluation / "evaluation.json", "")


def hash_adapter(build: Path, name: str) -> str:
    """SHA-256 of the adapter's weights of the run in `build`."""
    run_target("convert", {"BUILD": str(build), "NEW_NAME": name, "PROFILE": "tiny"}).require_success()
    return sha256(last_run(build).adapter / "adapter_model.safetensors")


def evaluation_figures(result: dict) -> list[Figure]:
    """The bars of the evaluation (schemas/evaluation.schema.json), each with its score under every system prompt."""
    missed = {failure["bar"] for failure in result["failures"]}

    def each(part: str, whole: str) -> str:
        return ", ".join(f"{c['prompt']} {c[part]}/{c[whole]}" for c in result["prompts"])

    return [
        Figure(
            "right name, questions never trained on", each("new", "questions"), "at least 95% each", "new" not in missed
        ),
        Figure("old name", each("old", "answers"), "at most 1% (its 95% interval)", "old" not in missed),
        Figure("base's name", each("base", "answers"), "at most 1% (its 95% interval)", "base" not in missed),
        Figure(
            "general questions kept",
            each("general_kept", "general_base_right"),
            "at least 90%",
            "general_kept" not in missed,
        ),
        Figure("whole answers", each("whole", "answers"), "at least 90%", "whole" not in missed),
    ]


def time_tests(target: str, limit: float, report: Callable[[str], object]) -> Figure:
    """How long `make TARGET` takes, with the closing line of each call of pytest. Raises UserError when a test fails."""
    report(f"make {target}")
    done = run_target(target, {}).require_success()
    closing = ", ".join(line.strip("= ") for line in done.screen.splitlines() if TESTS_PASSED.search(line))
    return Figure(f"make {target}", f"{done.seconds:.0f} s ({closing})", f"under {limit:.0f} s", done.seconds < limit)
