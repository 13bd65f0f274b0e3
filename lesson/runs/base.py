"""The base model that a run was trained on, found again by the stages after training."""

from __future__ import annotations

from pathlib import Path

from lesson.config.summary import summary_of
from lesson.core.layout import base_model
from lesson.core.records import find_record
from lesson.core.settings import Values
from lesson.runs.folder import Run


def find_run_base(values: Values, run: Run | None) -> Path:
    """BUILD/model, unless the run's own config names a base that lies elsewhere and BUILD/model is not that of the run."""
    built = base_model(values.build)
    if run is None:
        return built
    recorded = (find_record(built) or {}).get("output")
    if recorded is not None and recorded == run.read_record()["inputs"]["base"]:
        return built
    named = summary_of(run.config).get("model_path") if run.config.is_file() else None
    return Path(named) if isinstance(named, str) and (Path(named) / "config.json").is_file() else built
