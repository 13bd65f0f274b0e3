"""What is known of the base at BUILD/model: the record that make model keeps beside it, and what later stages read of it."""

from __future__ import annotations

from pathlib import Path

from lesson.core.layout import base_model
from lesson.core.messages import tr
from lesson.core.records import find_record, read_record


def recorded_base_hash(model: Path) -> str:
    """The hash of the base model that make model recorded. Raises UserError when there is no base."""
    return read_record(model, tr("run make model", "请先运行 make model"), "output")["output"]


def recorded_base(build: Path) -> dict[str, object]:
    """What make model recorded of the base at BUILD/model: see describe_base. {} for the tiny base that ships, or none."""
    found = (find_record(base_model(build)) or {}).get("base")
    return found if isinstance(found, dict) else {}
