"""A finished run's loss curve as a golden: golden/loss/PROFILE[-SPEED][-N-ranks]-MACHINE.json (schemas/loss.schema.json)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from lesson.config.summary import summary_of
from lesson.core.files import read_json, write_json
from lesson.core.machine import slug
from lesson.core.messages import UserError, tr
from lesson.core.settings import ROOT, Values
from lesson.runs.folder import Run, find_last_run, find_run
from lesson.runs.loss_band import Comparison, compare_curves
from lesson.runs.loss_curve import LossCurve, read_loss_curve

GOLDENS = ROOT / "golden" / "loss"
KEPT = ("profile", "names", "deepspeed", "seed", "versions", "samples", "steps")


@dataclass(frozen=True)
class KeptGolden:
    """A golden that was written, and how the one before it compares; None where there was none."""

    path: Path
    before: Comparison | None


def keep_golden(values: Values) -> KeptGolden:
    """Write the golden of the run A=, else of the run trained last. Raises UserError when it is not finished."""
    run = find_last_run(values)
    if values.a:
        run = Run(Path(values.a)) if Path(values.a).is_dir() else find_run(values.build, values.a)
    document = make_golden(run)
    path, before = golden_path(document), None
    if path.exists():
        points = [(point["step"], point["loss"]) for point in document["curve"]]
        before = compare_curves(read_loss_curve(str(path), values).points, points)
    write_json(path, document)
    return KeptGolden(path, before)


def lines_of(kept: KeptGolden) -> list[str]:
    """What the user reads about it."""
    lines = [tr(f"written: {kept.path}; commit it", f"已写入：{kept.path}，请提交到 git")]
    if kept.before is not None:
        lines.insert(
            0,
            tr(
                f"against the golden there was: {kept.before.verdict}, largest difference {kept.before.largest:.3g}",
                f"与原有 golden 相比：{kept.before.verdict}，最大差 {kept.before.largest:.3g}",
            ),
        )
    return lines


def make_golden(run: Run) -> dict:
    """The golden of a finished run, as schemas/loss.schema.json has it. Raises UserError when it is not finished."""
    record = run.read_record()
    machine = record["machine"]
    return {
        "format": 1,
        **{key: record[key] for key in KEPT},
        "speed": record.get("speed", "stock"),
        "processes": record.get("processes", 1),
        "inputs": {**record["inputs"], "config": hash_config(run.config)},
        "machine": {"type": machine_type_of(record), "processor": machine["processor"], "gpu": machine["gpu"]},
        "curve": [{"step": point["step"], "loss": point["loss"]} for point in record["curve"]],
    }


def hash_config(path: Path) -> str:
    """SHA-256 of the config with the folders of its base and its rows left out: the same wherever BUILD is."""
    text, summary = path.read_text(encoding="utf-8"), summary_of(path)
    for key in ("model_path", "data_file"):
        if summary.get(key):
            text = text.replace(repr(summary[key]), repr(Path(summary[key]).name))
    return hashlib.sha256(text.encode()).hexdigest()


def golden_path(record: dict) -> Path:
    """Where the golden of a run with this record lies: golden/loss/PROFILE[-SPEED][-N-ranks]-MACHINE.json."""
    speed, ranks = record.get("speed") or "stock", record.get("processes") or 1
    how = ([] if speed == "stock" else [speed]) + ([] if ranks == 1 else [f"{ranks}-ranks"])
    parts = [record["profile"], *how, machine_type_of(record)]
    return GOLDENS / ("-".join(parts) + ".json")


def machine_type_of(record: dict) -> str:
    """The type of the machine that a run was trained on; of older records it is made from the names in them."""
    machine = record["machine"]
    return machine.get("type") or slug(machine["gpu"] or machine["processor"])


def find_golden(curve: LossCurve) -> Path:
    """The golden to hold `curve` against. Raises UserError with the goldens that there are.

    A golden of another base is none: those of 7b are of random weights (lesson/model/random_base.py).
    """
    path = golden_path(curve.record) if "machine" in curve.record else None
    if path and path.exists() and read_json(path, "")["inputs"]["base"] == curve.record["inputs"]["base"]:
        return path
    known = ", ".join(p.relative_to(ROOT).as_posix() for p in sorted(GOLDENS.glob("*.json")))
    raise UserError(
        "B",
        tr(f"no golden for {curve.where}", f"没有与 {curve.where} 对应的 golden"),
        tr(f"name one (B=): {known}; or make golden-loss", f"请用 B= 指定：{known}；或运行 make golden-loss"),
    )
