"""How far loss curves differ between machines, engines and seeds: the measurement behind the band of loss."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lesson.bench.stages import run_stage
from lesson.core import layout
from lesson.core.messages import tr
from lesson.core.processes import run_process
from lesson.core.settings import ROOT, Values
from lesson.runs.checkpoint import find_checkpoint, step_of
from lesson.runs.curve import CURVE, read_curve
from lesson.runs.environment import engine_environment
from lesson.runs.folder import Run
from lesson.runs.loss_band import Comparison, Points, compare_curves
from lesson.training.deepspeed import find_deepspeed_config, single_process_environment
from lesson.training.ranks import engine_command

FOLDER = Path("build") / "bench-loss"
FIRST_STEPS = 21  # compared alone too: before differences have grown
AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
# name: (variables of the recipe, variables of the libraries)
WAYS: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "plain": ({}, {}),
    "avx2": ({}, AVX2),
    "one-thread": ({}, {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}),
    "zero2": ({"DEEPSPEED": "deepspeed_zero2"}, {}),
    "two-processes": ({"NPROC_PER_NODE": "2", "BATCH": "2"}, {}),
    "zero2-two-processes": ({"DEEPSPEED": "deepspeed_zero2", "NPROC_PER_NODE": "2", "BATCH": "2"}, {}),
    "seed-43": ({"SEED": "43"}, {}),
    "seed-44": ({"SEED": "44"}, {}),
}


@dataclass(frozen=True)
class WayCompared:
    """The loss curve of one way of training, held against the first way's: all steps, and the first ones alone."""

    way: str
    whole: Comparison
    start: Comparison


def compare_ways(name: str) -> Iterator[WayCompared]:
    """Each of WAYS, trained in FOLDER unless its curve is there, with `name` as the new name. Raises UserError."""
    first: Points | None = None
    for way, (variables, libraries) in WAYS.items():
        points = train_way(FOLDER / way, variables, libraries, name)
        first = first or points
        start = compare_curves(first[:FIRST_STEPS], points[:FIRST_STEPS])
        yield WayCompared(way, compare_curves(first, points), start)


def heading_line() -> str:
    """What stands above the lines of `line_of`."""
    return tr("against plain", "与 plain 相比") + f"{'':<12}verdict    largest   mean      share     first 21 steps"


def line_of(compared: WayCompared) -> str:
    """One way's line of the table."""
    whole, start = compared.whole, compared.start
    return (
        f"{compared.way:<25}{whole.verdict:<11}{whole.largest:<10.2g}{whole.mean:<10.2g}{whole.share:<10.2g}"
        f"{start.largest:.2g} {start.share:.2g}"
    )


def train_way(build: Path, variables: dict[str, str], libraries: dict[str, str], name: str) -> Points:
    """The loss curve of one way, trained in `build` by XTuner's process itself, so that `libraries` reach it as given.

    What is there and finished is not trained again. Raises UserError, the output of all processes in the run's console.
    """
    work, console = Run(build).work_dir, Run(build).console
    if not find_checkpoint(work) or step_of(find_checkpoint(work)) != read_curve(work / CURVE)[0]["total"]:
        shutil.rmtree(build, ignore_errors=True)
        build.mkdir(parents=True)
        given = {"BUILD": str(build), "PROFILE": "tiny", "NEW_NAME": name, **variables}
        for module in ("data", "model", "config"):
            run_stage(module, given, log=console)
        values = Values({}, given)
        config = next(layout.config_folder(build).glob("*.py"))
        tool = ["train", str(config), "--work-dir", str(work)]
        environment = engine_environment(values) | libraries
        if "DEEPSPEED" in variables:
            tool += ["--deepspeed", find_deepspeed_config(values)]
            environment |= single_process_environment()
        run_process(engine_command(values, tool), environment, folder=ROOT, log=console).require_success(console)
    return [(line["step"], line["loss"]) for line in read_curve(work / CURVE) if "step" in line]
