"""The check of what the staff trained again from a submission's rows and figures (RETRAIN=; lesson/submission/retraining.py)."""

from __future__ import annotations

import hashlib
import io
import shutil
import statistics
from pathlib import Path

from lesson.core.messages import tr
from lesson.core.refusals import Broken, Unreadable
from lesson.model import safetensors_file
from lesson.runs.loss_band import IDENTICAL, LARGEST, MEAN, OUTSIDE, Comparison, compare_curves
from lesson.submission.archive.opening import open_view
from lesson.submission.archive.view import View
from lesson.submission.blame import stopped_by_content
from lesson.submission.evidence import LARGEST_ROWS, Evidence
from lesson.submission.likeness import product_cosines, sketch_adapter
from lesson.submission.registry import Failed, Skipped, Unjudged, define_check, load_checks, run_checks
from lesson.submission.staff import StaffInputs
from lesson.submission.trained_again import Retrained
from lesson.submission.training_facts import read_figures, read_settings

DIGITS = 1e-4  # of the log: its losses have four decimals
# Cosines of the products B·A with those of the staff's adapter, in the median of all modules. Another name with the same
# seed has 0.42 in the tiny profile, random numbers have 0.0.
SAME_BUT_ROUNDED = 0.9999  # the same adapter in another number format
LEAST_ELSEWHERE = 0.7  # on another type of machine
TRAINED = ("hand in the run that these rows and this config made", "请提交由这些数据和配置训练出的结果")


def read_task(path: str, names: dict[str, str], rows: Path) -> dict:
    """{"settings", "figures", "rows": their hash}, and the rows copied to `rows`; or {"unjudged": [what, what to do]}."""
    try:
        with open_view(path) as view:
            evidence = Evidence(view, names)
            evidence.require_size("data", LARGEST_ROWS)
            if evidence.more_data:
                what = tr("rows in several files are not trained again", "数据分为多个文件，不重新训练")
                return {"unjudged": [what, tr("look at it by hand", "请人工查看")]}
            task = {"settings": read_settings(evidence), "figures": read_figures(evidence)}
            rows.parent.mkdir(parents=True)
            with evidence.open_rows(evidence.parts["data"]) as source, open(rows, "wb") as target:
                shutil.copyfileobj(source, target)
            return task | {"rows": view.sha256(evidence.parts["data"])}
    except Unjudged as error:
        return {"unjudged": [str(error), error.remedy]}
    except (Broken, Unreadable, KeyError, ValueError, TypeError) as error:
        return {"unjudged": [stopped_by_content(error), tr("look at it by hand", "请人工查看")]}


def check_retrained(path: str, names: dict[str, str], done: Retrained) -> dict:
    """{"results": of the checks of the area}."""
    with open_view(path) as view:
        checks = (check for check in load_checks() if check.area == "retrain")
        return {"results": run_checks(Evidence(view, names), StaffInputs(retrained=done), checks)}


@define_check("retrain", "config", "data")
def retrained(evidence: Evidence, staff: StaffInputs) -> str:
    """trained again by the staff, its rows and config give the same losses and adapter | 教师用其数据和配置重新训练，得到相同的损失和适配器"""
    if staff.retrained is None:
        raise Skipped(tr("RETRAIN is not set", "没有设置 RETRAIN"))
    ours = staff.retrained
    same = _on_same_machine(evidence, ours)
    found = [_compare_losses(evidence, ours, same)]
    if ours.adapter is not None:
        found.append(_compare_adapters(evidence, ours.adapter, same))
    where = tr("same type of machine", "同型机器") if same else tr("another machine or software", "机器或软件不同")
    return f"{'; '.join(found)} ({where})"


def _on_same_machine(evidence: Evidence, ours: Retrained) -> bool:
    """Whether all that rounding depends on is the same by the record: then every bit must be."""
    record = evidence.sound_record
    if record is None or record.get("processes", 1) != 1 or record["deepspeed"]:
        return False
    machine = record["machine"]
    if any(machine.get(key) != ours.machine.get(key) for key in ("type", "cores")) or not machine.get("type"):
        return False
    return all(ours.versions.get(name) == version for name, version in record["versions"].items())


def _told_losses(evidence: Evidence) -> dict[int, float]:
    """The submitted losses of each step; empty where only a log is there."""
    if "curve" in evidence.parts:
        return {point.step: point.loss for point in evidence.curve}
    record = evidence.sound_record
    return {point["step"]: point["loss"] for point in record["curve"]} if record else {}


def _compare_losses(evidence: Evidence, ours: Retrained, same: bool) -> str:
    steps, told = len(ours.losses), _told_losses(evidence)
    remedy = tr(*TRAINED)
    if (total := evidence.log.points[-1].total) != ours.total:
        raise Failed(
            tr(f"{total} steps, {ours.total} when trained again", f"{total} 步，重新训练为 {ours.total} 步"), remedy
        )
    expected = ours.losses
    if not told:
        told = {point.step: point.loss for point in evidence.log.points}
        expected = {step: mean for step, mean in _means(ours.losses).items() if step in told}
    told = {step: loss for step, loss in told.items() if step in ours.losses}
    if not expected:
        raise Unjudged(
            tr("no step of the log was trained again", "没有可比较的训练步"), tr("set STEPS= to more", "请增大 STEPS")
        )
    found = compare_curves(
        sorted(told.items()), sorted(expected.items()), LARGEST.get(evidence.profile, LARGEST["tiny"]), MEAN
    )
    rounded = expected is not ours.losses and found.largest <= DIGITS
    if found.verdict == OUTSIDE or (same and found.verdict != IDENTICAL and not rounded):
        raise Failed(_describe(found, ours, steps) + _other_base(evidence, ours), remedy)
    if found.verdict == IDENTICAL or rounded:
        return tr(f"losses of {steps} of {ours.total} steps equal", f"前 {steps}/{ours.total} 步损失相同")
    return tr("losses within the band: ", "损失在误差范围内：") + _describe(found, ours, steps)


def _describe(found: Comparison, ours: Retrained, steps: int) -> str:
    if not found.steps or found.missing:
        return tr(f"{found.missing} of {steps} steps are missing", f"缺少 {found.missing}/{steps} 步")
    return tr(
        f"losses of {steps} of {ours.total} steps differ by up to {found.largest:.3g} (step {found.largest_at}), {found.share:.1%} in the mean",
        f"前 {steps}/{ours.total} 步损失最多相差 {found.largest:.3g}（第 {found.largest_at} 步），平均 {found.share:.1%}",
    )


def _other_base(evidence: Evidence, ours: Retrained) -> str:
    """That the record names another base than the staff's: it excuses nothing, but the staff may set MODEL to it."""
    record = evidence.sound_record
    if record is None or ours.base is None or record["inputs"]["base"] == ours.base:
        return ""
    return tr("; the record names another base than the one here", "；记录中的基座与这里的不同")


def _means(losses: dict[int, float], window: int = 10) -> dict[int, float]:
    """What mmengine's log says of each step."""
    return {step: statistics.fmean([losses[s] for s in range(max(1, step - window + 1), step + 1)]) for step in losses}


def _compare_adapters(evidence: Evidence, path: Path, same: bool) -> str:
    if "adapter" not in evidence.parts:
        raise Failed(tr("no adapter", "没有适配器"), tr(*TRAINED))
    view = View()
    view.add_file("adapter_model.safetensors", path.stat().st_size, lambda: io.BytesIO(path.read_bytes()))
    ours = Evidence(view)
    ours.parts = {"adapter": "adapter_model.safetensors"}
    if _values_hash(ours) == _values_hash(evidence):
        return tr("adapter equal in every bit", "适配器逐位相同")
    alike = statistics.median(product_cosines(sketch_adapter(ours), sketch_adapter(evidence)))
    formats = {t.dtype for t in ours.tensors} != {t.dtype for t in evidence.tensors}
    least = SAME_BUT_ROUNDED if same and formats else LEAST_ELSEWHERE
    if (same and not formats) or alike < least:
        what = tr(f"the adapter is another: likeness {alike:.6g}", f"适配器不同：相似度 {alike:.6g}")
        raise Failed(what, tr(*TRAINED))
    return tr(f"adapter alike: {alike:.4g}", f"适配器相似：{alike:.4g}")


def _values_hash(evidence: Evidence) -> str:
    """The hash of the matrices: of name, format, shape and bytes of each, in the order of their names."""
    found = []
    for tensor, data in safetensors_file.read_contents(evidence.view, evidence.parts["adapter"]):
        name = tensor.name.removeprefix("base_model.model.").replace(".default.", ".")
        found.append((name, tensor.dtype, tensor.shape, hashlib.sha256(data).hexdigest()))
    return hashlib.sha256(repr(sorted(found)).encode()).hexdigest()
