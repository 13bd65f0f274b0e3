"""The runs of a BUILD with their key figures, newest first.

Reads BUILD/runs/*: the record of a finished run, the curve of one that is not, the evaluation where there is one. What
cannot be read shows as unknown, so that one broken run does not hide the others.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from lesson.config.summary import summary_of
from lesson.core.layout import last_run_link, runs_folder
from lesson.core.messages import UserError, tr
from lesson.core.text import display_width
from lesson.runs.curve import CURVE, read_curve
from lesson.runs.divergence import has_curve_diverged
from lesson.runs.folder import Run


def figures_of(run: Run, current: bool) -> dict:
    """The key figures of a run; None for what is not known (yet).

    {"id", "current", "finished": bool, "diverged": whether its losses tell of training in vain, "time": when its record or curve was last written (ISO 8601, UTC), "profile",
    "speed", "name", "step", "steps", "loss": [first, last] (means of the ends once finished, else single steps),
    "seconds": of all steps, "tokens_per_second", "peak_memory": bytes (the GPU's where one was used), "seed",
    "identity": share of identity questions answered with the new name, all system prompts together}
    """
    result = dict.fromkeys(("profile", "speed", "name", "step", "steps", "loss", "seconds", "tokens_per_second"))
    result |= dict.fromkeys(("peak_memory", "seed", "identity"))
    result = {
        "id": run.folder.name,
        "current": current,
        "finished": False,
        "diverged": False,
        "time": _time_of(run.folder),
        **result,
    }
    curve = run.work_dir / CURVE
    if curve.exists():
        result["time"] = _time_of(curve)
        with contextlib.suppress(OSError, UnicodeDecodeError):
            result |= _figures_of_curve(read_curve(curve))
    with contextlib.suppress(UserError, OSError, SyntaxError, ValueError):
        result["seed"] = summary_of(run.config).get("seed")
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError, AttributeError):
        result |= _figures_of_record(json.loads(run.record.read_text(encoding="utf-8")))
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError, AttributeError):
        result["identity"] = share_of_new_name(
            json.loads((run.evaluation / "evaluation.json").read_text(encoding="utf-8"))
        )
    return result


def _time_of(path: Path) -> str:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="seconds")


def _figures_of_curve(lines: list[dict]) -> dict:
    steps = [line for line in lines if "step" in line]
    found = {"steps": lines[0].get("total") if lines else None, "step": steps[-1]["step"] if steps else 0}
    if steps:
        found["loss"] = [steps[0]["loss"], steps[-1]["loss"]]
        found["diverged"] = has_curve_diverged(steps)
        found |= _speed(sum(s.get("tokens") or 0 for s in steps), sum(s.get("seconds") or 0 for s in steps))
        found["peak_memory"] = max((s["memory"] for s in steps if s.get("memory")), default=None)
    return found


def _figures_of_record(record: dict) -> dict:
    return {
        "finished": True,
        "time": record["finished"],
        "profile": record["profile"],
        "speed": record.get("speed", "stock"),
        "name": record["names"]["new"],
        "step": record["steps"],
        "steps": record["steps"],
        "loss": [record["loss"]["first"], record["loss"]["last"]],
        **_speed(record["tokens"], record["seconds"]["steps"]),
        "peak_memory": record["peak_memory"]["gpu"] or record["peak_memory"]["host"],
        "seed": record["seed"],
    }


def _speed(tokens: int, seconds: float) -> dict:
    return {"seconds": round(seconds, 1), "tokens_per_second": round(tokens / seconds) if seconds > 0 else None}


def share_of_new_name(evaluation: dict) -> float | None:
    """The share of identity questions that were answered with the new name, over all system prompts."""
    asked = sum(counts["questions"] for counts in evaluation["prompts"])
    return sum(counts["new"] for counts in evaluation["prompts"]) / asked if asked else None


def list_runs(build: Path) -> list[dict]:
    """The key figures of every run below `build`, newest first."""
    folder, link = runs_folder(build), last_run_link(build)
    current = link.resolve() if link.exists() else None
    found = [figures_of(Run(p), p.resolve() == current) for p in _folders(folder)]
    return sorted(found, key=lambda run: (datetime.fromisoformat(run["time"]), run["id"]), reverse=True)


def _folders(folder: Path) -> list[Path]:
    return [p for p in sorted(folder.iterdir()) if p.is_dir() and not p.name.startswith(".")] if folder.is_dir() else []


# --- on the screen -----------------------------------------------------------------------------------------------------


def cells_of(figures: dict) -> dict[str, str]:
    """The line of a run in the table, {column: text}; `-` for what is not known."""

    def text(key: str, form: Callable[[object], str]) -> str:
        return "-" if figures[key] is None else form(figures[key])

    state = tr("finished", "完成")
    if not figures["finished"] and figures["diverged"]:
        state = tr(f"diverged at {figures['step']}", f"第 {figures['step']} 步发散")
    elif not figures["finished"]:
        step = figures["step"] or 0
        state = tr(f"at {step}", f"第 {step} 步") + (f"/{figures['steps']}" if figures["steps"] else "")
    speed = "" if figures["speed"] in (None, "stock") else f" {figures['speed']}"
    return {
        "current": "*" if figures["current"] else "",
        "id": figures["id"],
        "time": figures["time"].replace("T", " ")[:16],
        "profile": text("profile", str) + speed,
        "name": text("name", str),
        "state": state,
        "steps": text("steps", str),
        "loss": text("loss", lambda ends: " → ".join("nan" if x is None else f"{x:.3f}" for x in ends)),
        "seconds": text("seconds", lambda x: f"{x:.0f} s"),
        "tokens_per_second": text("tokens_per_second", lambda x: f"{x:.0f}"),
        "peak_memory": text("peak_memory", lambda x: f"{x / 2**30:.2f} GiB"),
        "seed": text("seed", str),
        "identity": text("identity", lambda x: f"{x:.0%}"),
    }


def align_columns(lines: list[list[str]]) -> list[str]:
    """`lines` in columns as wide as their widest cell; a Chinese character takes two columns."""
    widths = [max(display_width(line[i]) for line in lines) for i in range(len(lines[0]))]
    return [
        "  ".join(cell + " " * (w - display_width(cell)) for cell, w in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]


def lines_of(runs: list[dict], build: Path) -> list[str]:
    """The table of what `list_runs` gave, for the screen."""
    if not runs:
        folder = runs_folder(build)
        return [tr(f"no run in {folder} yet; run make train", f"{folder} 里还没有训练")]
    head = tr(
        ",run,time (UTC),profile,name,state,steps,loss,time of steps,tokens/s,peak memory,seed,says its name",
        ",编号,时间 (UTC),配置档,名字,状态,步数,损失,训练用时,词元/秒,内存峰值,种子,自称新名字",
    )
    lines = align_columns([head.split(","), *(list(cells_of(run).values()) for run in runs)])
    if any(run["current"] for run in runs):
        lines.append(tr("* the current run: BUILD/run", "* 当前训练：BUILD/run"))
    if any(not run["finished"] and not run["diverged"] for run in runs):
        lines.append(
            tr(
                "at a step: not finished; the same make train goes on",
                "停在某一步：未完成，再次运行同样的 make train 会继续",
            )
        )
    if any(run["diverged"] and not run["finished"] for run in runs):
        lines.append(tr("diverged: make train with a smaller LR", "发散：用更小的 LR 再次 make train"))
    return lines
