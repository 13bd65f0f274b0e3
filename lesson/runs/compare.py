"""make compare A=… B=…: two runs side by side: what differs in their records, then the key figures, then the curves.

A and B are runs of BUILD, by their ID or its beginning, run folders, or run.json files. Exit status 0 whatever differs.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from lesson.core import cli
from lesson.core.files import read_json
from lesson.core.messages import UserError, tr
from lesson.core.settings import Values
from lesson.runs import listing as list_runs
from lesson.runs import loss_band as loss
from lesson.runs.folder import Run

SETTINGS = ["PROFILE", "BUILD", "A", "B", "FORMAT"]
# Results, which differ between any two runs; everything else in a record says what the run was made from.
RESULTS = ("format", "id", "finished", "curve", "loss", "seconds", "tokens", "peak_memory", "checkpoint", "resumed_at")
FIGURES = ("steps", "loss", "seconds", "tokens_per_second", "peak_memory", "identity")


def record_of(text: str, key: str, values: Values) -> tuple[dict, dict]:
    """(record, key figures) of the finished run that `text` names. Raises UserError."""
    if not text:
        remedy = tr("name a run: make runs lists them", "请指定一个训练，make runs 可列出全部")
        raise UserError(f"{key}=", tr("not given", "没有指定"), remedy)
    path = Path(text)
    run = Run(path if path.is_dir() else path.parent) if path.exists() else loss.find_run(text, values)
    record = read_json(path if path.is_file() else run.record, tr("run make train", "请先运行 make train"))
    figures = list_runs.figures(run, False)
    if not isinstance(record, dict) or "curve" not in record or not figures["finished"]:
        what = tr("is no run record", "不是训练记录")
        raise UserError(path if path.exists() else run.record, what, tr("name a run.json", "请指定 run.json"))
    return record, figures


def differences(a: object, b: object, where: str = "") -> list[tuple[str, object, object]]:
    """[(path in the record, value in A, value in B)] where two JSON values differ; None for what one lacks."""
    if isinstance(a, dict) and isinstance(b, dict):
        found = []
        for key in dict.fromkeys([*a, *b]):
            found += differences(a.get(key), b.get(key), f"{where}.{key}" if where else key)
        return found
    return [] if a == b and type(a) is type(b) else [(where, a, b)]


def compare(values: Values) -> int:
    (a, figures_a), (b, figures_b) = (record_of(values.text(key), key, values) for key in ("A", "B"))
    made_from = [{k: v for k, v in record.items() if k not in RESULTS} for record in (a, b)]
    found = differences(*made_from)
    curves = [[(point["step"], point["loss"]) for point in record["curve"]] for record in (a, b)]
    result = loss.compare(*curves, loss.limit(a))
    if values.format == "json":
        document = {
            "a": figures_a,
            "b": figures_b,
            "differences": [{"field": where, "a": x, "b": y} for where, x, y in found],
            "loss": {"verdict": result.verdict, "first": result.first, "largest": result.largest, "mean": result.mean},
        }
        print(json.dumps(document, ensure_ascii=False, indent=2))
        return 0
    lines = [["", figures_a["id"], figures_b["id"]]]
    lines += [[where, shown(x), shown(y)] for where, x, y in found]
    print(list_runs.table(lines) if found else tr("made from the same", "输入完全相同"))
    names = dict(
        zip(
            FIGURES,
            tr(
                "steps,loss,time,tokens/s,peak memory,says its name", "步数,损失,用时,词元/秒,内存峰值,自称新名字"
            ).split(","),
            strict=True,
        )
    )
    print()
    column = {"steps": 6, "loss": 7, "seconds": 8, "tokens_per_second": 9, "peak_memory": 10, "identity": 12}
    both = [list_runs.cells(figures) for figures in (figures_a, figures_b)]
    print(list_runs.table([["", "A", "B"], *([names[k], both[0][column[k]], both[1][column[k]]] for k in FIGURES)]))
    if result.first is None and not result.missing:
        print(tr("loss curves: identical", "损失曲线：完全相同"))
    else:
        print(
            tr(
                f"loss curves: first difference at step {result.first}, largest {result.largest:.3g} at step "
                f"{result.largest_at}, mean {result.mean:.3g}; {result.missing} steps in one only",
                f"损失曲线：从第 {result.first} 步起不同，最大 {result.largest:.3g}（第 {result.largest_at} 步），"
                f"平均 {result.mean:.3g}；{result.missing} 步只在其中一个里",
            )
        )
        print(tr("make compare-loss draws them", "make compare-loss 可画出两条曲线"))
    return 0


def shown(value: object) -> str:
    """A value of a record in at most 40 characters, hashes by their beginning."""
    if isinstance(value, str) and len(value) == 64 and not set(value) - set("0123456789abcdef"):
        return value[:12]
    text = "-" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else text[:39] + "…"


def main(arguments: list[str] | None = None) -> int:
    return cli.run("compare", __doc__, SETTINGS, compare, sys.argv[1:] if arguments is None else arguments)
