"""Checks of a submission's run: log and record can be read, add up, agree with the config, and are physically possible."""

from __future__ import annotations

import itertools
import math
import statistics
from datetime import UTC, datetime, timedelta

from lesson.config import schedule
from lesson.config.summary import lookup
from lesson.core.messages import tr
from lesson.core.text import shorten
from lesson.runs.folder import make_run_id
from lesson.submission.base_shape import base_shape
from lesson.submission.evidence import Evidence
from lesson.submission.registry import Failed, Skipped, Unjudged, define_check
from lesson.submission.staff import StaffInputs
from lesson.submission.training_log import Point

FELL = 0.7  # the last losses are below this share of the first; the lesson's fall to a tenth
LEARNT = 0.25  # … or lie below this many nats a token, where a run begins with rows it knows
WINDOW = 10  # steps that mmengine's log averages (log_processor.window_size)
ABOUT = 0.35  # how far the samples may be from an estimate made without the base's tokenizer
# Operations a second that no processor reaches: the dense 16-bit peak of the fastest GPUs, and of CPUs.
FASTEST = {"gpu": 5e15, "cpu": 2e13}
PACK_AGAIN = "make submission"
TRAIN_AGAIN = ("hand in the log of the run itself", "请提交该次训练的日志")


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _config_count(evidence: Evidence, name: str) -> int:
    """A whole number of the config. Raises Skipped when it cannot be told."""
    value = lookup(evidence.config, name)[0]
    if not _is_count(value):
        raise Skipped(tr(f"the config does not tell {name}", f"配置没有写明 {name}"))
    return value


@define_check("run", "log")
def log(evidence: Evidence, staff: StaffInputs) -> str:
    """XTuner's log can be read and has the steps of a training | 能读出 XTuner 日志中的训练步"""
    points = evidence.log.points
    if not points:
        raise Failed(
            tr("no line of a training step", "没有训练步的记录"), tr("hand in XTuner's own log", "请提交 XTuner 的日志")
        )
    totals = {p.total for p in points}
    if len(totals) > 1:
        raise Failed(
            tr(f"two totals of steps: {sorted(totals)[:3]}", f"总步数不一致：{sorted(totals)[:3]}"), tr(*TRAIN_AGAIN)
        )
    return tr(f"{len(points)} lines, {points[-1].step} steps", f"{len(points)} 行，{points[-1].step} 步")


@define_check("run", "log", after=("log",))
def finished(evidence: Evidence, staff: StaffInputs) -> str:
    """the training ran to its end | 训练完整结束"""
    last = evidence.log.points[-1]
    every = lookup(evidence.config, "save_steps")[0] if "config" in evidence.parts else None
    gaps = [b.step - a.step for a, b in itertools.pairwise(evidence.log.points)]
    # mmengine logs at one interval; by epochs, also from an epoch's last line to the next one's first.
    usual = statistics.median_low([evidence.log.points[0].step, *gaps])
    for before, after in itertools.pairwise(evidence.log.points):
        if after.step - before.step > 2 * usual:
            raise Failed(
                tr(
                    f"no line between the steps {before.step} and {after.step}, where there is one every {usual}",
                    f"第 {before.step} 步到第 {after.step} 步之间没有记录，而平常每 {usual} 步一行",
                ),
                tr(*TRAIN_AGAIN),
            )
    interval = max([1, *gaps, evidence.log.points[0].step])
    # mmengine logs every N-th step only, so that up to N - 1 steps at the end have no line.
    if last.total - last.step >= interval:
        raise Failed(
            tr(f"the log ends at step {last.step} of {last.total}", f"日志止于第 {last.step}/{last.total} 步"),
            tr("the same make train goes on from there", "再次运行 make train 可继续"),
        )
    record = evidence.sound_record
    if record and (
        record["steps"] != last.total or [c["step"] for c in record["curve"]] != list(range(1, record["steps"] + 1))
    ):
        raise Failed(
            tr(
                f"the record has {len(record['curve'])} of {record['steps']} steps, the log {last.total}",
                f"记录有 {len(record['curve'])}/{record['steps']} 步，日志 {last.total} 步",
            ),
            tr(*TRAIN_AGAIN),
        )
    return tr(
        f"step {last.step} of {last.total}, saved every {every}", f"第 {last.step}/{last.total} 步，每 {every} 步保存"
    )


@define_check("run", "log", "config", "data", after=("log", "config_only", "data_rules"))
def samples(evidence: Evidence, staff: StaffInputs) -> str:
    """the number of training samples follows from the rows | 样本数与数据行相符"""
    made = evidence.log.samples
    if made is None:
        raise Skipped(tr("the log does not tell them", "日志没有写明"))
    packed = lookup(evidence.config, "pack_to_max_length")[0] is not False
    length = _config_count(evidence, "max_length")
    expected = schedule.count_samples(evidence.data.kept_lengths(length), length, packed)
    # Beyond 1000 rows the shuffled batches may shift the count by one each.
    slack = 2 + len(evidence.data.lengths) // schedule.MAP_BATCH if evidence.data.exact else 2 + ABOUT * expected
    slack = slack + len(evidence.row_files) - 1 if packed else 0  # each data set drops a rest of its own
    if evidence.sound_record and evidence.sound_record["samples"] != made:
        expected, slack = evidence.sound_record["samples"], 0
    if abs(made - expected) > slack:
        raise Failed(
            tr(
                f"{made} in the log, {expected} from {len(evidence.data.lengths)} rows",
                f"日志 {made} 个，{len(evidence.data.lengths)} 行数据应得 {expected} 个",
            ),
            tr("hand in the rows that were trained on", "请提交训练所用的数据"),
        )
    return tr(f"{made}, expected {expected}", f"{made} 个，预期 {expected} 个")


@define_check("run", "log", "config", after=("log", "config_only"))
def steps(evidence: Evidence, staff: StaffInputs) -> str:
    """the steps follow from samples, batch and epochs | 步数与样本数、批量、轮数相符"""
    if evidence.log.samples is None:
        raise Skipped(tr("the log does not tell the samples", "日志没有写明样本数"))
    batch, epochs = _config_count(evidence, "batch_size"), _config_count(evidence, "max_epochs")
    parallel = lookup(evidence.config, "sequence_parallel_size")[0]
    processes = evidence.log.gpus
    if evidence.sound_record:
        processes = max(processes, evidence.sound_record.get("processes", 1))  # on CPUs the log knows of no GPU
    ranks = max(processes // (parallel if _is_count(parallel) else 1), 1)
    expected = math.ceil(math.ceil(evidence.log.samples / ranks) / batch) * epochs
    found = evidence.log.points[-1].total
    if found != expected:
        raise Failed(
            tr(
                f"{found} steps, but {evidence.log.samples} samples / {batch} × {epochs} epochs make {expected}",
                f"{found} 步，但 {evidence.log.samples} 个样本 / {batch} × {epochs} 轮应为 {expected} 步",
            ),
            tr("hand in the config that was trained with", "请提交训练所用的配置"),
        )
    return tr(
        f"{evidence.log.samples} / {batch} × {epochs} = {found}",
        f"{evidence.log.samples} / {batch} × {epochs} = {found}",
    )


@define_check("run", "log", after=("log",))
def fell(evidence: Evidence, staff: StaffInputs) -> str:
    """the loss is finite and fell | 损失有限且下降"""
    losses = [p.loss for p in evidence.log.points]
    bad = [p.step for p in evidence.log.points if not math.isfinite(p.loss) or p.loss < 0]
    if bad:
        raise Failed(
            tr(f"no finite loss at step {bad[0]}", f"第 {bad[0]} 步的损失不是有限数"),
            tr("lower LR, or DTYPE=bfloat16, and train again", "请降低 LR 或用 DTYPE=bfloat16 重新训练"),
        )
    window = max(1, min(3, len(losses) // 2))
    first, last = sum(losses[:window]) / window, sum(losses[-window:]) / window
    if len(losses) > 1 and last > FELL * first and last > LEARNT:
        raise Failed(
            tr(f"loss {first:.3f} → {last:.3f}", f"损失 {first:.3f} → {last:.3f}"),
            tr("train longer (EPOCHS=) or check LR", "请增加 EPOCHS 或检查 LR"),
        )
    return f"{first:.3f} → {last:.3f}"


@define_check("run", "log", after=("log",))
def agree(evidence: Evidence, staff: StaffInputs) -> str:
    """log, vis_data, curve and record tell the same losses | 日志、vis_data、曲线与记录的损失一致"""
    compared, places = ["log"], []
    text = {p.step: p for p in evidence.log.points}
    if "scalars" in evidence.parts:
        compared.append("vis_data")
        numbers = {p.step: p for p in evidence.scalars}
        places += [f"vis_data: {s}" for s in sorted(text.keys() ^ numbers.keys())]
        for step in sorted(text.keys() & numbers.keys()):
            a, b = text[step], numbers[step]
            if _differ(a.loss, b.loss, 6e-5) or _differ(a.seconds, b.seconds, 6e-5) or _differ(a.lr, b.lr, 1e-9, 1e-4):
                places.append(f"{tr('step', '步')} {step}: log {a.loss:g}, vis_data {b.loss:g}")
    curve = evidence.curve if "curve" in evidence.parts else []
    stored = evidence.sound_record["curve"] if evidence.sound_record else []
    if curve and stored:
        compared.append("curve")
        in_record = [(c["step"], c["loss"], c["lr"]) for c in stored]
        in_curve = [(p.step, p.loss, p.lr) for p in curve]
        different = [a[0] for a, b in zip(in_record, in_curve, strict=False) if a != b]
        if different or len(in_record) != len(in_curve):
            places.append(f"run.json ≠ curve.jsonl: {tr('step', '步')} {different[0] if different else len(in_curve)}")
    if curve or stored:
        compared.append("record")
        places += _means_differ(evidence, {p.step: p.loss for p in curve} or {c["step"]: c["loss"] for c in stored})
    if stored:
        window = evidence.record["loss"]["window"]
        losses = [c["loss"] for c in stored]
        for key, part in (("first", losses[:window]), ("last", losses[-window:])):
            if _differ(sum(part) / max(len(part), 1), evidence.record["loss"][key], 1e-6, 1e-6):
                places.append(f"run.json: loss.{key} = {evidence.record['loss'][key]:g}")
    if places:
        raise Failed(
            tr(f"{len(places)} contradictions, the first: {places[0]}", f"{len(places)} 处矛盾，第一处：{places[0]}"),
            tr(*TRAIN_AGAIN),
            places,
        )
    return ", ".join(compared)


def _differ(a: float, b: float, absolute: float, relative: float = 0.0) -> bool:
    if math.isnan(a) or math.isnan(b):
        return math.isnan(a) != math.isnan(b)
    if math.isinf(a) or math.isinf(b):
        return a != b
    return abs(a - b) > absolute + relative * abs(b)


def _means_differ(evidence: Evidence, losses: dict[int, float]) -> list[str]:
    """Where the log's smoothed loss is not the mean of the last WINDOW losses (of fewer after a resume)."""
    places = []
    widths = range(1, WINDOW + 1) if evidence.log.sessions > 1 or _resumed(evidence) else None
    for point in evidence.log.points:
        if point.step not in losses:
            places.append(f"{tr('step', '步')} {point.step}")
            continue
        last = [losses.get(s, math.nan) for s in range(max(1, point.step - WINDOW + 1), point.step + 1)]
        means = [sum(last[-w:]) / len(last[-w:]) for w in (widths or [WINDOW])]
        if all(_differ(point.loss, mean, 1e-4, 1e-4) for mean in means):
            places.append(f"{tr('step', '步')} {point.step}: log {point.loss:g}, {tr('mean', '均值')} {means[-1]:.4f}")
    return places


def _resumed(evidence: Evidence) -> bool:
    return evidence.sound_record is not None and evidence.sound_record["resumed_at"] > 0


@define_check("run", "log", "config", after=("log", "config_only"))
def rates(evidence: Evidence, staff: StaffInputs) -> str:
    """the learning rate follows the config's schedule | 学习率符合配置的调度"""
    peak, ratio = (lookup(evidence.config, name)[0] for name in ("lr", "warmup_ratio"))
    epochs = _config_count(evidence, "max_epochs")
    total = evidence.log.points[-1].total
    if not all(isinstance(v, int | float) and math.isfinite(v) for v in (peak, ratio)) or total % epochs:
        raise Skipped(tr("the config does not tell lr or warmup_ratio", "配置没有写明 lr 或 warmup_ratio"))
    warm = int(ratio * epochs * (total // epochs))
    for point in evidence.log.points:
        expected = scheduled_rate(point.step, total, warm, peak)
        if _differ(point.lr, expected, 1e-4 * peak, 5e-4):
            raise Failed(
                tr(
                    f"lr {point.lr:g} at step {point.step}, the config makes {expected:g}",
                    f"第 {point.step} 步 lr 为 {point.lr:g}，按配置应为 {expected:g}",
                ),
                tr("hand in the config that was trained with", "请提交训练所用的配置"),
            )
    return f"lr {peak:g}"


def scheduled_rate(step: int, total: int, warm: int, peak: float) -> float:
    """mmengine's LinearLR (from 1e-5 of the peak), then CosineAnnealingLR to 0; `step` counts from 1."""
    if step <= warm:
        return peak * (1e-5 + (1 - 1e-5) * (step - 1) / max(warm - 1, 1))
    return peak * (1 + math.cos(math.pi * (step - 1 - warm) / max(total - warm, 1))) / 2


@define_check("run", "log", after=("log",))
def times(evidence: Evidence, staff: StaffInputs) -> str:
    """the times of the log go forward and add up | 日志时间递增且前后相符"""
    points = evidence.log.points
    back = next((b for a, b in itertools.pairwise(points) if b.at < a.at), None)
    remedy = tr(*TRAIN_AGAIN)
    if back:
        raise Failed(tr(f"time goes back at step {back.step}", f"第 {back.step} 步时间倒退"), remedy)
    if points[-1].at > datetime.now(UTC).replace(tzinfo=None) + timedelta(days=1):
        raise Failed(tr(f"{points[-1].at} is in the future", f"{points[-1].at} 在未来"), remedy)
    summed, passed = _summed_seconds(points), (points[-1].at - points[0].at).total_seconds()
    if evidence.log.sessions == 1 and not math.isnan(summed) and passed < 0.8 * summed - 3:
        raise Failed(
            tr(
                f"{passed:.0f} s between first and last line, but the steps add up to {summed:.0f} s",
                f"首末行相隔 {passed:.0f} 秒，但各步合计 {summed:.0f} 秒",
            ),
            remedy,
        )
    if record := evidence.sound_record:
        finished_at = datetime.fromisoformat(record["finished"]).replace(tzinfo=None)
        if evidence.log.dated and abs(finished_at - points[-1].at) > timedelta(
            days=1
        ):  # the log's clock is local, the record's UTC
            raise Failed(
                tr(
                    f"the log ends {points[-1].at}, the record {finished_at}",
                    f"日志止于 {points[-1].at}，记录为 {finished_at}",
                ),
                remedy,
            )
        seconds = record["seconds"]["steps"]
        if "curve" in evidence.parts and _differ(sum(p.seconds for p in evidence.curve), seconds, 1, 0.01):
            raise Failed(tr(f"the record's {seconds} s are not the curve's", f"记录的 {seconds} 秒与曲线不符"), remedy)
    return f"{passed:.0f} s"


def _summed_seconds(points: list[Point]) -> float:
    """Seconds from the first line to the last, by the `time` of each line."""
    return sum((b.step - a.step) * b.seconds for a, b in itertools.pairwise(points))


def _multiplied_parameters(evidence: Evidence, staff: StaffInputs) -> int:
    """Parameters that every token is multiplied with. Of an unknown base, those beside which the adapter lies."""
    try:
        base = base_shape(evidence, staff)
        return base.parameters - base.vocabulary * base.hidden
    except Unjudged:
        if "adapter" not in evidence.parts:
            raise
    sides = {t.name: t.shape for t in evidence.tensors if len(t.shape) == 2}
    pairs = [(s, sides.get(name.replace(".lora_A", ".lora_B"))) for name, s in sides.items() if ".lora_A" in name]
    return sum(a[1] * b[0] for a, b in pairs if b)


@define_check("run", "log", "config", after=("log", "config_only"))
def speed(evidence: Evidence, staff: StaffInputs) -> str:
    """the speed is physically possible | 训练速度在物理上可能"""
    batch, length = _config_count(evidence, "batch_size"), _config_count(evidence, "max_length")
    if lookup(evidence.config, "pack_to_max_length")[0] is False:
        lengths = evidence.data.lengths if "data" in evidence.parts else ()
        length = max(1, min(lengths, default=1))
    # A token costs 2 operations a parameter forwards and 2 backwards through frozen weights.
    work = 4 * _multiplied_parameters(evidence, staff) * batch * length
    on_gpu = evidence.profile != "tiny"
    least = work / FASTEST["gpu" if on_gpu else "cpu"]
    fastest = min((p.seconds for p in evidence.log.points if not math.isnan(p.seconds)), default=math.nan)
    if not fastest > least:
        raise Failed(
            tr(
                f"a step took {fastest:g} s; {work:.2g} operations take at least {least:.2g} s on any machine",
                f"一步用时 {fastest:g} 秒；{work:.2g} 次运算在任何机器上至少 {least:.2g} 秒",
            ),
            tr(*TRAIN_AGAIN),
        )
    return tr(
        f"{batch * length / fastest:.0f} tokens/s, {work / fastest:.2g} operations/s",
        f"每秒 {batch * length / fastest:.0f} 个词元，{work / fastest:.2g} 次运算",
    )


@define_check("run", "record")
def record(evidence: Evidence, staff: StaffInputs) -> str:
    """the run record is valid | 训练记录有效"""
    found = evidence.record
    return tr(f"run {found['id']}, {found['steps']} steps", f"训练 {found['id']}，{found['steps']} 步")


@define_check("run", "record", "config", "data", after=("record",))
def inputs(evidence: Evidence, staff: StaffInputs) -> str:
    """what was trained is what was handed in: config and data by hash | 训练所用即所提交：配置与数据的哈希一致"""
    found = evidence.record
    wrong = [
        f"{part}: {evidence.parts[part]}"
        for part in ("config", "data")
        if evidence.view.sha256(evidence.parts[part]) != found["inputs"][part]
        and not (part == "config" and evidence.manifest is None and not evidence.config.imports)  # XTuner's dump of it
    ]
    if not wrong and found["id"] != make_run_id(found["inputs"], found["deepspeed"], found.get("processes", 1)):
        wrong = [f"id: {found['id']}"]
    if wrong:
        raise Failed(
            tr("not what the run was made from: ", "与训练时不同：") + ", ".join(wrong),
            tr("hand in the run that these files made", "请提交由这些文件训练出的结果"),
        )
    return found["id"]


@define_check("run", "record", after=("record",))
def names(evidence: Evidence, staff: StaffInputs) -> str:
    """manifest, run and evaluation speak of the same names | 清单、训练记录与评测的名字一致"""
    declared = {"record": evidence.record["names"]}
    if evidence.manifest:
        declared["manifest"] = evidence.manifest["names"]
    if "evaluation" in evidence.parts:
        declared["evaluation"] = evidence.evaluation["names"]
        if evidence.evaluation["run"] != evidence.record["id"]:
            raise Failed(
                tr("the evaluation is of another run: ", "评测属于另一次训练：") + evidence.evaluation["run"],
                "make eval",
            )
    if len({(n["old"], n["new"]) for n in declared.values()}) > 1:
        shown = ", ".join(f"{key}: {shorten(n['old'])}→{shorten(n['new'])}" for key, n in declared.items())
        raise Failed(shown, PACK_AGAIN)
    first = declared["record"]
    return f"{shorten(first['old'])}→{shorten(first['new'])}"
