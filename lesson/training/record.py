"""The record of a finished training: run.json (schemas/run.schema.json)."""

from __future__ import annotations

import math
import platform
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from lesson.config.summary import summary_of
from lesson.core.files import sha256
from lesson.core.machine import describe_machine
from lesson.core.messages import UserError, tr
from lesson.core.records import read_record, record_path
from lesson.core.settings import Values
from lesson.data.persona import read_persona
from lesson.runs.checkpoint import find_checkpoint
from lesson.runs.curve import CURVE, read_curve
from lesson.runs.folder import Run
from lesson.training.base import describe_trained_base
from lesson.training.inputs import TrainingInputs
from lesson.training.launch import EngineWork

VERSIONS = ["torch", "xtuner", "transformers", "mmengine", "peft", "bitsandbytes", "deepspeed", "datasets"]
WINDOW = 10  # steps averaged at both ends of the curve: single steps are noisy


def make_record(values: Values, run: Run, inputs: TrainingInputs, work: EngineWork) -> dict:
    """The run record, as schemas/run.schema.json has it. Raises UserError when the curve is not whole."""
    head, *steps = read_curve(run.work_dir / CURVE)
    losses = [step["loss"] for step in steps]
    if len(steps) != head["total"] or None in losses:
        what = tr(
            f"{len(steps)} steps of {head['total']} in the curve", f"损失曲线只有 {len(steps)}/{head['total']} 步"
        )
        raise UserError(
            run.work_dir / CURVE, what, tr("move the run folder away and train again", "请移走该目录后重新训练")
        )
    checkpoint = find_checkpoint(run.work_dir)
    window = min(WINDOW, max(1, len(losses) // 2))
    gpu = [step["memory"] for step in steps if "memory" in step]
    return {
        "format": 1,
        "id": run.folder.name,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "profile": values.profile,
        "speed": values.speed,
        "names": read_names(values, inputs.data),
        "persona": read_persona(inputs.data),
        "config": inputs.config.name,
        "deepspeed": inputs.deepspeed,
        "processes": inputs.processes,
        "seed": summary_of(run.config).get("seed"),
        "inputs": inputs.hashes,
        **describe_trained_base(values.build, inputs.base),
        "versions": {name: metadata.version(name) for name in VERSIONS} | {"python": platform.python_version()},
        "machine": describe_machine(with_gpu=values.profile != "tiny"),
        "samples": head["samples"],
        "steps": head["total"],
        "resumed_at": work.resumed_at,
        "loss": {
            "window": window,
            "first": math.fsum(losses[:window]) / window,
            "last": math.fsum(losses[-window:]) / window,
        },
        "seconds": {"wall": round(work.seconds, 1), "steps": round(math.fsum(s["seconds"] for s in steps), 1)},
        "tokens": sum(step["tokens"] for step in steps),
        "peak_memory": {"host": work.peak_memory, "gpu": max(gpu) if gpu else None},
        "checkpoint": {
            "path": str(checkpoint.relative_to(run.folder)),
            "sha256": None if checkpoint.is_dir() else sha256(checkpoint),
        },
        "curve": [{"step": s["step"], "loss": s["loss"], "lr": s["lr"]} for s in steps],
    }


def read_names(values: Values, data: Path) -> dict[str, str]:
    """The names of the rows: those that make data recorded beside them, else what the call says."""
    if not record_path(data).exists():
        return {"old": values.old_name, "new": values.new_name}
    remedy = tr("run make data", "请先运行 make data")
    try:
        old, new = read_record(data, remedy)["parameters"]["replaced"][0]
    except (LookupError, TypeError, ValueError):
        old = new = None
    if not isinstance(old, str) or not isinstance(new, str):
        raise UserError(
            record_path(data), tr("does not say which name became which", "没有说明哪个名字换成了哪个"), remedy
        )
    return {"old": old, "new": new}
