"""What a training is made from: its config, rows and base, each known by its hash."""

from __future__ import annotations

from pathlib import Path

from lesson.core.files import read_json, readable, record_path, sha256
from lesson.core.messages import tr


def recorded_base_hash(model: Path) -> str:
    """The hash of the base model that the model stage recorded. Raises UserError when there is no base."""
    return read_json(record_path(model), tr("run make model", "请先运行 make model"))["output"]


def hash_of_input(path: Path, remedy: str) -> str:
    """SHA-256 of a file that must be there. Raises UserError with `remedy`."""
    return sha256(readable(path, remedy))
