"""Two finished runs side by side: what differs in their records, their key figures, and how far their curves differ."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from lesson.core.files import read_json
from lesson.core.messages import UserError, tr
from lesson.core.settings import Values
from lesson.runs.folder import Run, find_run
from lesson.runs.listing import align_columns, cells_of, figures_of
from lesson.runs.loss_band import Comparison, compare_curves, largest_allowed

# Results, which differ between any two runs; everything else in a record says what the run was made from.
RESULTS = ("format", "id", "finished", "curve", "loss", "seconds", "tokens", "peak_memory", "checkpoint", "resumed_at")


@dataclass(frozen=True)
class ComparedRuns:
    """The key figures of two runs, [(field of the record, value in A, value in B)] where they differ, and their curves."""

    a: dict
    b: dict
    differences: list[tuple[str, object, object]]
    curves: Comparison


def compare_runs(values: Values) -> ComparedRuns:
    """Compare the runs A= and B=. Raises UserError where one of them is no finished run."""
    (a, figures_a), (b, figures_b) = (read_named_run(values, key) for key in ("A", "B"))
    made_from = [{k: v for k, v in record.items() if k not in RESULTS} for record in (a, b)]
    curves = [[(point["step"], point["loss"]) for point in record["curve"]] for record in (a, b)]
    return ComparedRuns(figures_a, figures_b, find_differences(*made_from), compare_curves(*curves, largest_allowed(a)))


def read_named_run(values: Values, key: str) -> tuple[dict, dict]:
    """(record, key figures) of the finished run that the setting `key` names. Raises UserError where there is none."""
    text = values.text(key)
    if not text:
        remedy = tr("name a run: make runs lists them", "请指定一个训练，make runs 可列出全部")
        raise UserError(f"{key}=", tr("not given", "没有指定"), remedy)
    path = Path(text)
    run = Run(path if path.is_dir() else path.parent) if path.exists() else find_run(values.build, text)
    record = read_json(path if path.is_file() else run.record, tr("run make train", "请先运行 make train"))
    figures = figures_of(run, False)
    if not isinstance(record, dict) or "curve" not in record or not figures["finished"]:
        what = tr("is no run record", "不是训练记录")
        raise UserError(path if path.exists() else run.record, what, tr("name a run.json", "请指定 run.json"))
    return record, figures


def find_differences(a: object, b: object, where: str = "") -> list[tuple[str, object, object]]:
    """[(path in the record, value in A, value in B)] where two JSON values differ; None for what one lacks."""
    if isinstance(a, dict) and isinstance(b, dict):
        found = []
        for key in dict.fromkeys([*a, *b]):
            found += find_differences(a.get(key), b.get(key), f"{where}.{key}" if where else key)
        return found
    return [] if a == b and type(a) is type(b) else [(where, a, b)]


def document_of(compared: ComparedRuns) -> dict:
    """The comparison as JSON."""
    curves = compared.curves
    return {
        "a": compared.a,
        "b": compared.b,
        "differences": [{"field": field, "a": a, "b": b} for field, a, b in compared.differences],
        "loss": {"verdict": curves.verdict, "first": curves.first, "largest": curves.largest, "mean": curves.mean},
    }


def lines_of(compared: ComparedRuns) -> list[str]:
    """What the user reads about it."""
    lines = [tr("made from the same", "输入完全相同")]
    if compared.differences:
        fields = [[field, shorten_value(a), shorten_value(b)] for field, a, b in compared.differences]
        lines = align_columns([["", compared.a["id"], compared.b["id"]], *fields])
    names = {
        "steps": tr("steps", "步数"),
        "loss": tr("loss", "损失"),
        "seconds": tr("time", "用时"),
        "tokens_per_second": tr("tokens/s", "词元/秒"),
        "peak_memory": tr("peak memory", "内存峰值"),
        "identity": tr("says its name", "自称新名字"),
    }
    a, b = cells_of(compared.a), cells_of(compared.b)
    lines += ["", *align_columns([["", "A", "B"], *([name, a[key], b[key]] for key, name in names.items())])]
    result = compared.curves
    if result.first is None and not result.missing:
        return [*lines, tr("loss curves: identical", "损失曲线：完全相同")]
    return [
        *lines,
        tr(
            f"loss curves: first difference at step {result.first}, largest {result.largest:.3g} at step "
            f"{result.largest_at}, mean {result.mean:.3g}; {result.missing} steps in one only",
            f"损失曲线：从第 {result.first} 步起不同，最大 {result.largest:.3g}（第 {result.largest_at} 步），"
            f"平均 {result.mean:.3g}；{result.missing} 步只在其中一个里",
        ),
        tr("make compare-loss draws them", "make compare-loss 可画出两条曲线"),
    ]


def shorten_value(value: object) -> str:
    """A value of a record in at most 40 characters, hashes by their beginning."""
    if isinstance(value, str) and len(value) == 64 and not set(value) - set("0123456789abcdef"):
        return value[:12]
    text = "-" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else text[:39] + "…"
