"""Where loss curves are read from: a run, its record, a golden, or the curve file itself."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from lesson.core.files import read_json, readable
from lesson.core.messages import UserError, tr
from lesson.core.settings import Values
from lesson.runs.curve import CURVE, read_curve
from lesson.runs.folder import Run, find_run
from lesson.runs.loss_band import Points


@dataclass(frozen=True)
class LossCurve:
    """A loss curve and the record of its run without the curve: a golden's fields, or {} for a bare curve.jsonl."""

    where: str
    points: Points
    record: dict


def read_loss_curve(text: str, values: Values) -> LossCurve:
    """The curve that `text` names: a run's ID or its beginning, a run folder, a record, a golden, or a curve.jsonl.

    An unfinished run's curve is as long as it is. Raises UserError when there is no such thing, or when it has no step.
    """
    path = Path(text)
    if not path.exists():
        path = find_run(values.build, text).folder
    if path.is_dir():
        run = Run(path)
        path = run.record if run.record.exists() else run.work_dir / CURVE
    remedy = tr("name a run, a run.json, a golden or a curve.jsonl", "请指定编号、run.json、golden 或 curve.jsonl")
    readable(path, remedy)
    try:
        if path.suffix == ".jsonl":
            record, lines = {}, [line for line in read_curve(path) if "step" in line]
        else:
            record = read_json(path, remedy)
            lines = record["curve"]
        points = [(int(line["step"]), line["loss"]) for line in lines]
        if not points or not all(loss is None or math.isfinite(loss) for _, loss in points):
            raise ValueError
    except (LookupError, TypeError, ValueError, AttributeError):
        raise UserError(path, tr("holds no loss curve", "里面没有损失曲线"), remedy) from None
    return LossCurve(str(path), points, {key: value for key, value in record.items() if key != "curve"})
