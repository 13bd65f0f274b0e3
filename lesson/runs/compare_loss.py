"""Two loss curves held against each other: the verdict of the band, what differs in their origin, and a picture."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path

from lesson.core.layout import loss_comparison
from lesson.core.messages import tr
from lesson.core.settings import Values
from lesson.runs.folder import find_last_run
from lesson.runs.golden_loss import find_golden, machine_type_of
from lesson.runs.loss_band import IDENTICAL, MEAN, OUTSIDE, WITHIN, Comparison, compare_curves, largest_allowed
from lesson.runs.loss_curve import LossCurve, read_loss_curve
from lesson.runs.pictures import draw_picture


@dataclass(frozen=True)
class ComparedLosses:
    """Two curves, how they compare, and the PNG that shows both."""

    a: LossCurve
    b: LossCurve
    comparison: Comparison
    picture: Path

    @property
    def same(self) -> bool:
        """Whether they are identical or within the band."""
        return self.comparison.verdict != OUTSIDE


def compare_losses(values: Values) -> ComparedLosses:
    """Compare and draw the curves A and B: without A the run trained last, without B the golden of A's kind.

    Raises UserError when a curve cannot be found or read.
    """
    a = read_loss_curve(values.a or str(find_last_run(values).folder), values)
    b = read_loss_curve(values.b or str(find_golden(a)), values)
    comparison = compare_curves(a.points, b.points, largest_allowed(a.record))
    compared = ComparedLosses(a, b, comparison, loss_comparison(values.build))
    draw_curves(compared, values)
    return compared


def document_of(compared: ComparedLosses) -> dict:
    """The comparison as JSON. No infinity in JSON: a loss that was no number in one of the two differs by null."""
    numbers = {k: None if v == math.inf else v for k, v in asdict(compared.comparison).items()}
    return {"a": compared.a.where, "b": compared.b.where, **numbers, "picture": str(compared.picture)}


def origin_of(record: dict) -> dict:
    """What a curve came from, in the words that a record and a golden share (the config's hash is not: it has paths)."""
    return {
        **{key: record.get(key) for key in ("profile", "seed", "deepspeed", "names", "versions")},
        "speed": record.get("speed", "stock"),
        "processes": record.get("processes", 1),
        **{key: record["inputs"][key] for key in ("data", "base")},
        "machine": machine_type_of(record),
    }


def lines_of(compared: ComparedLosses) -> list[str]:
    """What the user reads about it."""
    a, b, result = compared.a, compared.b, compared.comparison
    lines = [f"A  {a.where}", f"B  {b.where}"]
    if a.record and b.record:
        other = origin_of(b.record)
        differing = [key for key, value in origin_of(a.record).items() if value != other[key]]
        if differing:
            lines.append(tr("not the same: ", "不同之处：") + ", ".join(differing))
    counts = tr(f"{result.steps} steps in both", f"共同 {result.steps} 步")
    if result.missing:
        counts += tr(f", {result.missing} in one only", f"，{result.missing} 步只在其中一个里")
    if result.first is None:
        counts += tr("; equal in every bit", "；逐位相同")
    else:
        counts += tr(
            f"; first difference at step {result.first}, largest {result.largest:.3g} at step {result.largest_at}, "
            f"mean {result.mean:.3g} nats per token, {result.share:.2%} of the mean loss",
            f"；从第 {result.first} 步起不同，最大 {result.largest:.3g}（第 {result.largest_at} 步），"
            f"平均 {result.mean:.3g} nats/词元，为平均损失的 {result.share:.2%}",
        )
    largest = largest_allowed(a.record)
    band = tr(f"largest {largest}, mean {MEAN:.0%}", f"最大 {largest}，平均 {MEAN:.0%}")
    verdicts = {
        IDENTICAL: tr("identical", "完全相同"),
        WITHIN: tr(f"within the band ({band})", f"在容许范围内（{band}）"),
        OUTSIDE: tr(f"outside the band ({band})", f"超出容许范围（{band}）"),
    }
    return [*lines, counts, verdicts[result.verdict], tr("picture: ", "图：") + str(compared.picture)]


def draw_curves(compared: ComparedLosses, values: Values) -> None:
    """Both curves, and their difference on an axis of its own with the band in grey."""
    a, b, largest = compared.a, compared.b, largest_allowed(compared.a.record)
    with draw_picture(compared.picture, values) as axes:
        for curve, colour, name in ((a, "tab:blue", "A"), (b, "tab:orange", "B")):
            steps, losses = zip(*curve.points, strict=True)
            axes.plot(steps, [math.nan if x is None else x for x in losses], color=colour, linewidth=1, label=name)
        axes.set(xlabel="step", ylabel="loss (nats per token)", ylim=(0, None))
        axes.grid(alpha=0.3)
        right, left = dict(b.points), dict(a.points)
        common = [s for s in sorted(left.keys() & right.keys()) if left[s] is not None and right[s] is not None]
        difference = axes.twinx()
        difference.axhspan(-largest, largest, color="0.9", zorder=0)
        difference.plot(common, [left[s] - right[s] for s in common], color="tab:red", linewidth=0.8, label="A - B")
        most = max([largest, *(abs(left[s] - right[s]) for s in common)])
        difference.set(ylabel="A - B", ylim=(-4 * most, 4 * most))
        axes.set_zorder(1)
        axes.patch.set_visible(False)
        lines = [*axes.get_lines(), *difference.get_lines()]
        axes.legend(lines, [line.get_label() for line in lines])
