"""make bench-loss: how far loss curves differ between machines, engines and seeds: the measurement behind the band.

Trains the tiny lesson once in each way below, in build/bench-loss, and prints each curve's difference from the first.
A way whose curve is there already is not trained again. Takes about a quarter of an hour on two cores.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from lesson.core import cli, layout
from lesson.core.messages import UserError, tr
from lesson.core.settings import Values
from lesson.runs.checkpoint import find_checkpoint, step_of
from lesson.runs.curve import CURVE, read_curve
from lesson.runs.environment import engine_environment
from lesson.runs.folder import Run
from lesson.runs.loss_band import Points, compare_curves
from lesson.training.deepspeed import find_deepspeed_config, single_process_environment
from lesson.training.ranks import engine_command

SETTINGS = ["NEW_NAME"]
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


def curve(build: Path, variables: dict[str, str], libraries: dict[str, str], name: str) -> Points:
    """The loss curve of one way, trained in `build` by XTuner's process itself, so that `libraries` reach it as given."""
    work = Run(build).work_dir
    if not find_checkpoint(work) or step_of(find_checkpoint(work)) != read_curve(work / CURVE)[0]["total"]:
        shutil.rmtree(build, ignore_errors=True)
        given = {"BUILD": str(build), "PROFILE": "tiny", "NEW_NAME": name, **variables}
        environment = {**os.environ, **given}
        for module in ("data", "model", "config"):
            called([sys.executable, "-m", f"recipe.{module}"], environment, build)
        values = Values({}, given)
        config = next(layout.config_folder(build).glob("*.py"))
        tool = ["train", str(config), "--work-dir", str(work)]
        environment = engine_environment(values) | libraries
        if "DEEPSPEED" in variables:
            tool += ["--deepspeed", find_deepspeed_config(values)]
            environment |= single_process_environment()
        called(engine_command(values, tool), environment, build)
    return [(line["step"], line["loss"]) for line in read_curve(work / CURVE) if "step" in line]


def called(command: list[str], environment: dict[str, str], build: Path) -> None:
    build.mkdir(parents=True, exist_ok=True)
    console = Run(build).console
    with open(console, "ab") as log:
        if subprocess.run(command, env=environment, stdout=log, stderr=log).returncode:
            raise UserError(console, tr("failed", "失败"), tr("read it", "请查看"))


def bench_loss(values: Values) -> int:
    first = None
    print(tr("against plain", "与 plain 相比") + f"{'':<12}verdict    largest   mean      share     first 21 steps")
    for way, (variables, libraries) in WAYS.items():
        points = curve(Path("build") / "bench-loss" / way, variables, libraries, values.new_name)
        first = first or points
        whole, start = compare_curves(first, points), compare_curves(first[:21], points[:21])
        print(
            f"{way:<25}{whole.verdict:<11}{whole.largest:<10.2g}{whole.mean:<10.2g}{whole.share:<10.2g}"
            f"{start.largest:.2g} {start.share:.2g}",
            flush=True,
        )
    return 0


def main(arguments: list[str] | None = None) -> int:
    return cli.run("bench_loss", __doc__, SETTINGS, bench_loss, sys.argv[1:] if arguments is None else arguments)
