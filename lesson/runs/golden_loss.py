"""make golden-loss: the loss curve of a finished run, in full precision, as a golden that later runs are held against.

Reads the current run (or A=, a run's ID or folder); writes golden/loss/PROFILE[-SPEED]-MACHINE.json
(schemas/loss.schema.json). The comparison is lesson/runs/loss_band.py.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from lesson.config.summary import summary_of
from lesson.core import cli
from lesson.core.files import write_json
from lesson.core.messages import tr
from lesson.core.settings import Values
from lesson.runs import loss_band as loss
from lesson.runs.folder import Run, find_last_run

SETTINGS = ["PROFILE", "BUILD", "A"]
KEPT = ("profile", "names", "deepspeed", "seed", "versions", "samples", "steps")


def document(run: Run) -> dict:
    """The golden of a finished run, as schemas/loss.schema.json has it. Raises UserError when it is not finished."""
    record = run.read_record()
    told = record["machine"]
    return {
        "format": 1,
        **{key: record[key] for key in KEPT},
        "speed": record.get("speed", "stock"),
        "processes": record.get("processes", 1),
        "inputs": {**record["inputs"], "config": config_hash(run.config)},
        "machine": {"type": loss.machine_type(record), "processor": told["processor"], "gpu": told["gpu"]},
        "curve": [{"step": point["step"], "loss": point["loss"]} for point in record["curve"]],
    }


def config_hash(path: Path) -> str:
    """SHA-256 of the config with the folders of its base and its rows left out: the same wherever BUILD is."""
    text, facts = path.read_text(encoding="utf-8"), summary_of(path)
    for key in ("model_path", "data_file"):
        if facts.get(key):
            text = text.replace(repr(facts[key]), repr(Path(facts[key]).name))
    return hashlib.sha256(text.encode()).hexdigest()


def golden_loss(values: Values) -> int:
    run = find_last_run(values)
    if values.a:
        run = Run(Path(values.a)) if Path(values.a).is_dir() else loss.find_run(values.a, values)
    made = document(run)
    path = loss.golden_path(made)
    if path.exists():
        old = loss.load(str(path), values)
        result = loss.compare(old.points, [(point["step"], point["loss"]) for point in made["curve"]])
        print(
            tr(
                f"against the golden there was: {result.verdict}, largest difference {result.largest:.3g}",
                f"与原有 golden 相比：{result.verdict}，最大差 {result.largest:.3g}",
            )
        )
    write_json(path, made)
    print(tr(f"written: {path}; commit it", f"已写入：{path}，请提交到 git"))
    return 0


def main(arguments: list[str] | None = None) -> int:
    return cli.run("golden_loss", __doc__, SETTINGS, golden_loss, sys.argv[1:] if arguments is None else arguments)
