"""The loss curve of a run: one JSON line for each step, in full precision."""

from __future__ import annotations

import json
from pathlib import Path

CURVE = "curve.jsonl"


def read_curve(path: Path) -> list[dict]:
    """The whole lines of a curve file; what follows a line that is none is dropped, as a last one cut off by a
    kill; a missing file is empty."""
    lines = []
    if path.exists():
        for text in path.read_text(encoding="utf-8").splitlines():
            try:
                line = json.loads(text)
            except (ValueError, RecursionError):
                break
            if not _is_line(line):
                break
            lines.append(line)
    return lines


def _is_line(line: object) -> bool:
    """Whether it is one of hooks.py's: {"total": …}, or {"step": …} with numbers, of which the loss may be null."""
    if not isinstance(line, dict):
        return False
    if "step" not in line:
        return isinstance(line.get("total"), int)
    numbers = [
        line["step"],
        *(line[key] for key in ("loss", "lr", "seconds", "tokens", "memory") if line.get(key) is not None),
    ]
    return all(isinstance(number, int | float) for number in numbers)
