"""Are two loss curves the same? Identical, within the band for other machines, or outside; with a picture of both.

`make compare-loss A=… B=…`: each a run's ID or its beginning, a run folder, a run.json, a golden (golden/loss/*.json)
or a curve.jsonl. Without A it is the current run; without B, the golden of that run's profile, speed and machine.
Exit status 0: identical or within the band, 1: outside.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lesson.core import cli, machine
from lesson.core.files import read_json, readable
from lesson.core.layout import loss_comparison, runs_folder
from lesson.core.messages import UserError, tr
from lesson.core.settings import ROOT, Values
from lesson.runs import pictures as plots
from lesson.runs.curve import CURVE, curve_lines
from lesson.runs.folder import Run, find_last_run

SETTINGS = ["PROFILE", "BUILD", "A", "B", "FORMAT"]
GOLDEN = ROOT / "golden" / "loss"

# The band: no loss may differ by more than LARGEST nats per token (a number for each profile), and all of them together
# by no more than the share MEAN of the mean loss (a share, because a short run, which ends where the curve is steep,
# differs by more nats). Measured by `make bench-loss`, tiny (161 steps, loss 4 to 0.1), two cores of an Intel Xeon
# with AVX-512, against one run of it:
#                                                             largest    share of the mean
#   AVX2 kernels in place of AVX-512                          4.8e-7     4.9e-7
#   one OpenMP thread in place of two                         9.5e-7     6.2e-8
#   DeepSpeed ZeRO-2 in place of plain                        0.038      0.0081
#   two processes in place of one                             0.103      0.0085
#   … the same with ZeRO-2                                    0.100      0.0133
#   seed 43, and seed 44: these must be outside               0.90 1.27  0.136 0.149
#   … their first 21 steps                                    0.90 1.27  0.107 0.137
# So another way to do the same work stays below both limits by a factor of at least 2.2, and another seed is above both
# by a factor of at least 3.5. The largest difference of two processes is at an epoch's last step, where mmengine's
# sampler repeats a sample so that every process gets as many.
#
# At 7b single steps differ more, for in 22 steps the loss falls from 12.4 to 6.4. Measured by `make bench-gpu` on H100s,
# against stock with ZeRO-2, which gave the same bits on two machines:
#   without DeepSpeed                                         0.26       0.009
#   fast; fast on an NF4 base                                 0.31 0.22  0.015 0.012
#   TRL and LLaMA-Factory, which shuffle otherwise: outside   1.8 2.3    0.12 0.13
LARGEST = {"tiny": 0.25, "7b": 0.75}
MEAN = 0.03

IDENTICAL, WITHIN, OUTSIDE = "identical", "within", "outside"
Points = Sequence[tuple[int, float | None]]  # (step, loss); None where the loss was no finite number


@dataclass(frozen=True)
class Comparison:
    """What two curves have in common. Differences are absolute, in nats per token, over the steps of both."""

    verdict: str  # IDENTICAL, WITHIN or OUTSIDE
    steps: int  # in both
    missing: int  # in one only
    first: int | None  # the first step whose losses differ
    largest: float
    largest_at: int | None
    mean: float
    share: float  # the mean difference over the mean loss of both curves


def compare(a: Points, b: Points, largest: float = LARGEST["tiny"], mean: float = MEAN) -> Comparison:
    """Identical: same steps, every loss equal in every bit. Within: same steps, no loss differs by more than `largest`,
    and the mean difference is at most the share `mean` of the mean loss of both. Everything else, so also a curve that
    ends earlier, is outside."""
    left, right = dict(a), dict(b)
    common = sorted(left.keys() & right.keys())
    differences = [_difference(left[step], right[step]) for step in common]
    missing = len(left.keys() ^ right.keys())
    most = max(differences, default=0.0)
    average = math.fsum(differences) / len(differences) if differences else 0.0
    losses = [abs(curve[step] or 0.0) for step in common for curve in (left, right)]
    level = math.fsum(losses) / len(losses) if losses else 0.0
    share = 0.0 if average == 0 else average / level if level else math.inf
    verdict = OUTSIDE
    if common and not missing:
        verdict = IDENTICAL if most == 0 else WITHIN if most <= largest and share <= mean else OUTSIDE
    return Comparison(
        verdict,
        len(common),
        missing,
        next((step for step, d in zip(common, differences, strict=True) if d), None),
        most,
        common[differences.index(most)] if most else None,
        average,
        share,
    )


def limit(facts: dict) -> float:
    """The band's largest difference for a run's profile; a bare curve.jsonl tells none and is held to tiny's."""
    return LARGEST.get(str(facts.get("profile")), LARGEST["tiny"])


def _difference(a: float | None, b: float | None) -> float:
    if a is None or b is None:
        return 0.0 if a is b else math.inf
    return abs(a - b)


# --- where curves come from --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Curve:
    """A loss curve and what is known of its run (a record's or a golden's fields; {} for a bare curve.jsonl)."""

    where: str
    points: Points
    facts: dict


def load(text: str, values: Values) -> Curve:
    """The curve that `text` names: a run's ID or its beginning, a run folder, a record, a golden, or a curve.jsonl.

    An unfinished run's curve is as long as it is. Raises UserError when there is no such thing, or when it has no step.
    """
    path = Path(text)
    if not path.exists():
        path = find_run(text, values).folder
    if path.is_dir():
        run = Run(path)
        path = run.record if run.record.exists() else run.work_dir / CURVE
    remedy = tr("name a run, a run.json, a golden or a curve.jsonl", "请指定编号、run.json、golden 或 curve.jsonl")
    readable(path, remedy)
    try:
        if path.suffix == ".jsonl":
            facts, lines = {}, [line for line in curve_lines(path) if "step" in line]
        else:
            facts = read_json(path, remedy)
            lines = facts["curve"]
        points = [(int(line["step"]), line["loss"]) for line in lines]
        if not points or not all(loss is None or math.isfinite(loss) for _, loss in points):
            raise ValueError
    except (LookupError, TypeError, ValueError, AttributeError):
        raise UserError(path, tr("holds no loss curve", "里面没有损失曲线"), remedy) from None
    return Curve(str(path), points, {key: value for key, value in facts.items() if key != "curve"})


def find_run(text: str, values: Values) -> Run:
    """The run of BUILD whose ID begins with `text`. Raises UserError when there is none, or more than one."""
    folder = runs_folder(values.build)
    ids = sorted(p.name for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
    found = [name for name in ids if text and name.startswith(text)]
    if len(found) != 1:
        what = tr("no such run and no such file", "没有这个训练，也没有这个文件")
        if found:
            what = tr("is the beginning of ", "对应多个编号：") + ", ".join(found)
        raise UserError(repr(text), what, tr("make runs lists them", "make runs 可列出全部"))
    return Run(folder / found[0])


def golden_path(facts: dict) -> Path:
    """Where the golden of a run with this record lies: golden/loss/PROFILE[-SPEED]-MACHINE.json."""
    speed = facts.get("speed") or "stock"
    parts = [facts["profile"], *([] if speed == "stock" else [speed]), machine_type(facts)]
    return GOLDEN / ("-".join(parts) + ".json")


def machine_type(facts: dict) -> str:
    told = facts["machine"]
    return told.get("type") or machine.slug(told["gpu"] or told["processor"])


def golden_of(curve: Curve) -> str:
    """The golden to hold `curve` against. Raises UserError with the goldens that there are.

    A golden of another base is none: those of 7b are of random weights (lesson/model/random_base.py).
    """
    path = golden_path(curve.facts) if "machine" in curve.facts else None
    if path and path.exists() and read_json(path, "")["inputs"]["base"] == curve.facts["inputs"]["base"]:
        return str(path)
    there = ", ".join(p.relative_to(ROOT).as_posix() for p in sorted(GOLDEN.glob("*.json")))
    raise UserError(
        "B",
        tr(f"no golden for {curve.where}", f"没有与 {curve.where} 对应的 golden"),
        tr(f"name one (B=): {there}; or make golden-loss", f"请用 B= 指定：{there}；或运行 make golden-loss"),
    )


# --- the stage ---------------------------------------------------------------------------------------------------------


def origin(facts: dict) -> dict:
    """What a curve came from, in the words that a record and a golden share (the config's hash is not: it has paths)."""
    return {
        **{key: facts.get(key) for key in ("profile", "seed", "deepspeed", "names", "versions")},
        "speed": facts.get("speed", "stock"),
        "processes": facts.get("processes", 1),
        **{key: facts["inputs"][key] for key in ("data", "base")},
        "machine": machine_type(facts),
    }


def stage(values: Values) -> int:
    a = load(values.a or str(find_last_run(values).folder), values)
    b = load(values.b or golden_of(a), values)
    result = compare(a.points, b.points, limit(a.facts))
    picture = loss_comparison(values.build)
    draw(a, b, picture, values)
    if values.format == "json":
        # No infinity in JSON: a loss that was no number in one of the two differs by null.
        numbers = {k: None if v == math.inf else v for k, v in asdict(result).items()}
        print(json.dumps({"a": a.where, "b": b.where, **numbers, "picture": str(picture)}, indent=2))
    else:
        report(a, b, result, picture)
    return 1 if result.verdict == OUTSIDE else 0


def report(a: Curve, b: Curve, result: Comparison, picture: Path) -> None:
    print(f"A  {a.where}\nB  {b.where}")
    if a.facts and b.facts:
        right = origin(b.facts)
        other = [key for key, value in origin(a.facts).items() if value != right[key]]
        if other:
            print(tr("not the same: ", "不同之处：") + ", ".join(other))
    counts = tr(f"{result.steps} steps in both", f"共同 {result.steps} 步")
    if result.missing:
        counts += tr(f", {result.missing} in one only", f"，{result.missing} 步只在其中一个里")
    if result.first is None:
        print(counts + tr("; equal in every bit", "；逐位相同"))
    else:
        print(
            counts
            + tr(
                f"; first difference at step {result.first}, largest {result.largest:.3g} at step {result.largest_at}, "
                f"mean {result.mean:.3g} nats per token, {result.share:.2%} of the mean loss",
                f"；从第 {result.first} 步起不同，最大 {result.largest:.3g}（第 {result.largest_at} 步），"
                f"平均 {result.mean:.3g} nats/词元，为平均损失的 {result.share:.2%}",
            )
        )
    band = tr(f"largest {limit(a.facts)}, mean {MEAN:.0%}", f"最大 {limit(a.facts)}，平均 {MEAN:.0%}")
    said = {
        IDENTICAL: tr("identical", "完全相同"),
        WITHIN: tr(f"within the band ({band})", f"在容许范围内（{band}）"),
        OUTSIDE: tr(f"outside the band ({band})", f"超出容许范围（{band}）"),
    }
    print(said[result.verdict])
    print(tr("picture: ", "图：") + str(picture))


def draw(a: Curve, b: Curve, path: Path, values: Values) -> None:
    """Both curves, and their difference on an axis of its own with the band in grey."""
    with plots.picture(path, values) as axes:
        for curve, colour, name in ((a, "tab:blue", "A"), (b, "tab:orange", "B")):
            steps, losses = zip(*curve.points, strict=True)
            axes.plot(steps, [math.nan if x is None else x for x in losses], color=colour, linewidth=1, label=name)
        axes.set(xlabel="step", ylabel="loss (nats per token)", ylim=(0, None))
        axes.grid(alpha=0.3)
        right, left = dict(b.points), dict(a.points)
        common = [s for s in sorted(left.keys() & right.keys()) if left[s] is not None and right[s] is not None]
        difference = axes.twinx()
        difference.axhspan(-limit(a.facts), limit(a.facts), color="0.9", zorder=0)
        difference.plot(common, [left[s] - right[s] for s in common], color="tab:red", linewidth=0.8, label="A - B")
        most = max([limit(a.facts), *(abs(left[s] - right[s]) for s in common)])
        difference.set(ylabel="A - B", ylim=(-4 * most, 4 * most))
        axes.set_zorder(1)
        axes.patch.set_visible(False)
        lines = [*axes.get_lines(), *difference.get_lines()]
        axes.legend(lines, [line.get_label() for line in lines])


def main(arguments: list[str] | None = None) -> int:
    return cli.run("loss", __doc__, SETTINGS, stage, sys.argv[1:] if arguments is None else arguments)
