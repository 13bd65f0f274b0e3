"""make runs: the runs of BUILD with their key figures, newest first; FORMAT=json for programs.

Reads BUILD/runs/*: the record of a finished run, the curve of one that is not, the evaluation where there is one. What
cannot be read shows as unknown, so that one broken run does not hide the others.
"""

from __future__ import annotations

import contextlib
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from lesson.config.summary import summary_of
from lesson.core import cli
from lesson.core.layout import last_run_link, runs_folder
from lesson.core.messages import UserError, tr
from lesson.core.settings import Values
from lesson.core.text import display_width
from lesson.runs.curve import CURVE, curve_lines
from lesson.runs.folder import Run

SETTINGS = ["PROFILE", "BUILD", "FORMAT"]


def figures(run: Run, current: bool) -> dict:
    """The key figures of a run; None for what is not known (yet).

    {"id", "current", "finished": bool, "time": when its record or curve was last written (ISO 8601, UTC), "profile",
    "speed", "name", "step", "steps", "loss": [first, last] (means of the ends once finished, else single steps),
    "seconds": of all steps, "tokens_per_second", "peak_memory": bytes (the GPU's where one was used), "seed",
    "identity": share of identity questions answered with the new name, all system prompts together}
    """
    result = dict.fromkeys(("profile", "speed", "name", "step", "steps", "loss", "seconds", "tokens_per_second"))
    result |= dict.fromkeys(("peak_memory", "seed", "identity"))
    result = {"id": run.folder.name, "current": current, "finished": False, "time": _time(run.folder), **result}
    curve = run.work_dir / CURVE
    if curve.exists():
        result["time"] = _time(curve)
        with contextlib.suppress(OSError, UnicodeDecodeError):
            result |= _of_curve(curve_lines(curve))
    with contextlib.suppress(UserError, OSError, SyntaxError, ValueError):
        result["seed"] = summary_of(run.config).get("seed")
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError, AttributeError):
        result |= _of_record(json.loads(run.record.read_text(encoding="utf-8")))
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError, AttributeError):
        result["identity"] = identity(json.loads((run.evaluation / "evaluation.json").read_text(encoding="utf-8")))
    return result


def _time(path: Path) -> str:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="seconds")


def _of_curve(lines: list[dict]) -> dict:
    steps = [line for line in lines if "step" in line]
    found = {"steps": lines[0].get("total") if lines else None, "step": steps[-1]["step"] if steps else 0}
    if steps:
        found["loss"] = [steps[0]["loss"], steps[-1]["loss"]]
        found |= _speed(sum(s["tokens"] for s in steps), sum(s["seconds"] for s in steps))
        found["peak_memory"] = max((s["memory"] for s in steps if "memory" in s), default=None)
    return found


def _of_record(record: dict) -> dict:
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


def identity(evaluation: dict) -> float | None:
    """The share of identity questions that were answered with the new name, over all system prompts."""
    asked = sum(counts["questions"] for counts in evaluation["prompts"])
    return sum(counts["new"] for counts in evaluation["prompts"]) / asked if asked else None


def all_runs(values: Values) -> list[dict]:
    """The figures of every run of BUILD, newest first."""
    folder, link = runs_folder(values.build), last_run_link(values.build)
    current = link.resolve() if link.exists() else None
    found = [figures(Run(p), p.resolve() == current) for p in _folders(folder)]
    return sorted(found, key=lambda run: (datetime.fromisoformat(run["time"]), run["id"]), reverse=True)


def _folders(folder: Path) -> list[Path]:
    return [p for p in sorted(folder.iterdir()) if p.is_dir() and not p.name.startswith(".")] if folder.is_dir() else []


# --- on the screen -----------------------------------------------------------------------------------------------------


def cells(run: dict) -> list[str]:
    """One line of the table, as text; `-` for what is not known."""

    def text(key: str, form) -> str:
        return "-" if run[key] is None else form(run[key])

    state = tr("finished", "完成") if run["finished"] else tr(f"at {run['step'] or 0}", f"第 {run['step'] or 0} 步")
    profile = text("profile", str) + ("" if run["speed"] in (None, "stock") else f" {run['speed']}")
    return [
        "*" if run["current"] else "",
        run["id"],
        run["time"].replace("T", " ")[:16],
        profile,
        text("name", str),
        f"{state}/{run['steps']}" if not run["finished"] and run["steps"] else state,
        text("steps", str),
        text("loss", lambda ends: " → ".join("nan" if x is None else f"{x:.3f}" for x in ends)),
        text("seconds", lambda x: f"{x:.0f} s"),
        text("tokens_per_second", lambda x: f"{x:.0f}"),
        text("peak_memory", lambda x: f"{x / 2**30:.2f} GiB"),
        text("seed", str),
        text("identity", lambda x: f"{x:.0%}"),
    ]


def table(lines: list[list[str]]) -> str:
    """`lines` in columns as wide as their widest cell; a Chinese character takes two columns."""
    widths = [max(display_width(line[i]) for line in lines) for i in range(len(lines[0]))]
    padded = (
        "  ".join(cell + " " * (w - display_width(cell)) for cell, w in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
    return "\n".join(padded)


def list_runs(values: Values) -> int:
    found = all_runs(values)
    if values.format == "json":
        print(json.dumps(found, ensure_ascii=False, indent=2))
        return 0
    if not found:
        print(
            tr(
                f"no run in {runs_folder(values.build)} yet; run make train",
                f"{runs_folder(values.build)} 里还没有训练",
            )
        )
        return 0
    head = tr(
        ",run,time (UTC),profile,name,state,steps,loss,time of steps,tokens/s,peak memory,seed,says its name",
        ",编号,时间 (UTC),配置档,名字,状态,步数,损失,训练用时,词元/秒,内存峰值,种子,自称新名字",
    )
    print(table([head.split(","), *map(cells, found)]))
    if any(run["current"] for run in found):
        print(tr("* the current run: BUILD/run", "* 当前训练：BUILD/run"))
    return 0


def main(arguments: list[str] | None = None) -> int:
    return cli.run("list_runs", __doc__, SETTINGS, list_runs, sys.argv[1:] if arguments is None else arguments)
