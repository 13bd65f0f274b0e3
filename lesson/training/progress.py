"""What a training shows while it runs: step, loss, tokens a second, memory, time left, on a bar or in plain lines.

Everything is read from outside, from the curve file that the trainer appends to and from /proc: showing it costs the
training nothing.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

from lesson.core.messages import tr
from lesson.runs.curve import measure_progress, read_curve

LOOK = 0.25  # seconds between two looks at the curve


@dataclass(frozen=True)
class Display:
    """Where a stage shows what it does while it works."""

    report: Callable[[str], None]  # lines of progress
    warn: Callable[[str], None]  # what is found in the inputs
    stream: TextIO | None = None  # a bar, where this is a terminal
    on_step: Callable[[], object] = lambda: None  # called when this session has made steps


def follow_training(child: subprocess.Popen, curve: Path, display: Display) -> None:
    """Show progress until `child` ends: a bar where there is a terminal, else a line at the first step and at each
    tenth of the way."""
    bar, tenths, plain = None, -1, display.stream is None or not display.stream.isatty()
    before = curve.stat().st_mtime_ns if curve.exists() else 0  # an earlier session's: not progress of this one
    while True:
        ended = child.poll() is not None
        if curve.exists() and curve.stat().st_mtime_ns != before:
            before = curve.stat().st_mtime_ns
            head, *steps = read_curve(curve) or [{}]
            if "total" in head and not plain and bar is None:
                bar = tqdm(
                    total=head["total"], initial=len(steps), unit="step", dynamic_ncols=True, file=display.stream
                )
            if "total" in head and steps:
                display.on_step()
                now = measure_progress(steps, head["total"], measure_memory(child.pid))
                if bar is not None:
                    bar.set_postfix_str(format_bar(now), refresh=False)
                    bar.update(now["step"] - bar.n)
                elif now["step"] * 10 // now["total"] > tenths:
                    tenths = now["step"] * 10 // now["total"]
                    display.report(format_line(now))
        if ended:
            break
        time.sleep(LOOK)
    if bar is not None:
        bar.close()


def format_memory(now: dict) -> str:
    """The GPU's peak where there is a GPU, else what the trainer holds in main memory; empty when neither is known."""
    if now["gpu"]:
        return tr(f"GPU peak {now['gpu'] / 2**30:.1f} GiB", f"显存峰值 {now['gpu'] / 2**30:.1f} GiB")
    return tr(f"memory {now['host'] / 2**30:.1f} GiB", f"内存 {now['host'] / 2**30:.1f} GiB") if now["host"] else ""


def format_bar(now: dict) -> str:
    """What stands behind the bar, which shows step and time left itself."""
    return ", ".join(
        filter(None, [f"loss={now['loss']:.3f}", f"{now['tokens_per_second']:.0f} tok/s", format_memory(now)])
    )


def format_line(now: dict) -> str:
    """What a screen that is no terminal shows."""
    where = f"{now['step']}/{now['total']}"
    parts = [
        tr(f"step {where}", f"第 {where} 步"),
        tr(f"loss {now['loss']:.3f}", f"损失 {now['loss']:.3f}"),
        tr(f"{now['tokens_per_second']:.0f} tokens/s", f"每秒 {now['tokens_per_second']:.0f} 个词元"),
        format_memory(now),
        tr(f"{now['left']:.0f} s left", f"还需 {now['left']:.0f} 秒"),
    ]
    return "  ".join(filter(None, parts))


def measure_memory(pid: int) -> int | None:
    """Bytes of main memory that process `pid` and its descendants hold; None where /proc does not tell.

    Pages that several processes share are counted once for each.
    """
    page, held = os.sysconf("SC_PAGE_SIZE"), 0
    waiting = [pid]
    while waiting:
        process = Path(f"/proc/{waiting.pop()}")
        try:
            held += int((process / "statm").read_text().split()[1]) * page
            waiting += [int(child) for task in (process / "task").iterdir() for child in _children_of(task)]
        except (OSError, ValueError, IndexError):
            continue  # it ended meanwhile, or this is no Linux
    return held or None


def _children_of(task: Path) -> list[str]:
    try:
        return (task / "children").read_text().split()
    except OSError:
        return []
