"""The loss curve of a run: one JSON line for each step, in full precision; and the figures of its last steps."""

from __future__ import annotations

import json
import math
from pathlib import Path

CURVE = "curve.jsonl"
BEYOND = 10**18  # no count of steps, tokens or bytes is that large; a far larger whole number is no float
RECENT = 20  # steps that speed and time left are taken from


def read_curve(path: Path) -> list[dict]:
    """The whole lines of a curve file; what follows a line that is none is dropped, as a last one cut off by a
    kill; a missing file is empty."""
    lines = []
    if path.exists():
        for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
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
        return _is_count(line.get("total"))
    given = [line[key] for key in ("loss", "lr", "seconds", "tokens", "memory") if line.get(key) is not None]
    return _is_count(line["step"]) and "loss" in line and all(map(_is_number, given))


def _is_number(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < BEYOND


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < BEYOND


def measure_progress(steps: list[dict], total: int, host: int | None) -> dict:
    """The figures of a curve's last steps. `steps` is not empty; `host` is the trainer's resident memory in bytes.

    {"step", "total", "loss": of the last step, NaN where it was none, "tokens_per_second": of all ranks over the last
    RECENT steps, "gpu": the GPU's peak in bytes or None, "host", "left": seconds to the end}
    """
    recent = steps[-RECENT:]
    seconds = math.fsum(step.get("seconds") or 0 for step in recent)
    last = steps[-1]
    return {
        "step": last["step"],
        "total": total,
        "loss": math.nan if last["loss"] is None else last["loss"],
        "tokens_per_second": sum(step.get("tokens") or 0 for step in recent) / seconds if seconds > 0 else 0.0,
        "gpu": last.get("memory"),
        "host": host,
        "left": seconds / len(recent) * (total - last["step"]),
    }
