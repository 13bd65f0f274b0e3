"""What is known of the base at BUILD/model: the record that make model keeps beside it, and what later stages read of it."""

from __future__ import annotations

import json
from pathlib import Path

from lesson.core.files import read_json, record_path, write_json
from lesson.core.layout import base_model
from lesson.core.messages import tr


def write_base_record(target: Path, parameters: dict[str, object], output: str, base: dict[str, object]) -> None:
    """Keep beside `target` the hash `output` of its weights, and `base`: see describe_base."""
    write_json(record_path(target), {"inputs": {}, "parameters": parameters, "output": output, "base": base})


def recorded_base_hash(model: Path) -> str:
    """The hash of the base model that make model recorded. Raises UserError when there is no base."""
    return read_json(record_path(model), tr("run make model", "请先运行 make model"))["output"]


def recorded_base(build: Path) -> dict[str, object]:
    """What make model recorded of the base at BUILD/model: see describe_base. {} for the tiny base that ships, or none."""
    try:
        found = json.loads(record_path(base_model(build)).read_text(encoding="utf-8"))["base"]
    except (OSError, ValueError, LookupError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}
