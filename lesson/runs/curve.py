"""The loss curve of a run: one JSON line for each step, in full precision."""

from __future__ import annotations

import json
from pathlib import Path

CURVE = "curve.jsonl"


def read_curve(path: Path) -> list[dict]:
    """The whole lines of a curve file; a last line cut off by a kill is dropped, a missing file is empty."""
    lines = []
    if path.exists():
        for text in path.read_text(encoding="utf-8").splitlines():
            try:
                lines.append(json.loads(text))
            except ValueError:
                break
    return lines
