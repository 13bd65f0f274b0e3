"""How training grows with the GPUs of one host: each trainer on 1, 2, 4 and 8 of them, side by side.

One random base of the 7B shape, the shipped rows in packs of 2048 tokens, one pack a GPU and pass. Each trainer is measured
twice: with the same batch on each GPU (a step of n GPUs trains n packs), and with the same batch in all (a step trains as
many packs as there are GPUs at most, which fewer GPUs make in several passes, ACCUM). On the CPU (PROFILE=tiny) two
processes do the same over gloo with the tiny base: that shows that the bench works, and nothing about GPUs.
"""

from __future__ import annotations

import itertools
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from lesson.bench.stages import run_stage
from lesson.core import layout
from lesson.core.files import read_json, write_json
from lesson.core.machine import count_gpus, gpu_name
from lesson.core.messages import UserError, tr
from lesson.core.processes import run_process
from lesson.core.settings import ROOT, Values
from lesson.data.rows import open_bytes
from lesson.model import random_base
from lesson.runs.curve import CURVE, read_curve
from lesson.runs.environment import engine_environment
from lesson.runs.folder import find_last_run
from lesson.training.memory import CUDA_CONTEXT
from lesson.training.ranks import module_command

COUNTS = (1, 2, 4, 8)
# In this order: where the time is short, what the bars are about comes first.
TRAINERS: dict[str, dict[str, str]] = {
    "fast": {"SPEED": "fast"},
    "stock (ZeRO-2)": {"SPEED": "stock", "DEEPSPEED": "deepspeed_zero2"},
    "stock, plain data parallel": {"SPEED": "stock", "DEEPSPEED": "none"},
}
EACH, ALL = "each", "all"  # the same batch on each GPU; the same batch in all
LENGTHS = {"7b": 2048, "tiny": 256}  # tokens of a pack
ROWS = {"7b": 750, "tiny": 100}  # of the shipped rows: 22 packs at 7b
BARS = {2: 1.9, 4: 3.7, 8: 7.2}  # tokens/s of fast over one GPU, the same batch on each


@dataclass(frozen=True)
class Row:
    """One training and its figures: those are None where it failed, and `error` says how."""

    trainer: str
    batch: str  # EACH or ALL
    gpus: int
    packs: int  # in a step of the optimizer, of all GPUs
    tokens_per_second: float | None = None
    efficiency: float | None = None  # tokens/s over those of one GPU, and over the count of GPUs
    step: float | None = None  # seconds of a step of the optimizer, the median of the second half
    peak: int | None = None  # bytes on the first GPU: what torch used, None on a CPU
    used: int | None = None  # … what it reserved, and the CUDA context
    first_step: float | None = None  # seconds from make train to the end of the first pass
    error: str | None = None


@dataclass(frozen=True)
class ManyFigures:
    """What was measured. `all_reduce` are the seconds of averaging the LoRA gradients of 7B over n GPUs: {n: seconds}."""

    gpu: str
    gradient_bytes: int
    all_reduce: dict[int, float]
    rows: list[Row]
    file: Path


def measure_growth(values: Values, report: Callable[[str], object]) -> ManyFigures:
    """Train each of TRAINERS on each count of GPUs below BUILD/bench-gpus, whose figures.json has each row as soon as it is
    measured. A training that fails is reported, and the others go on.

    Raises UserError where there are fewer than two GPUs, and when the rows or the base cannot be made.
    """
    counts = list_counts(values)
    root, profile = layout.bench_folder(values.build, "bench-gpus"), values.profile
    if profile == "7b":
        report(tr("a random base of the 7B shape", "7B 尺寸的随机基座"))
        base = random_base.build_random_base(layout.random_base(root))
        for shard in base.glob("*.safetensors"):  # into the page cache, as the bar for the first step has it
            shard.read_bytes()
    else:
        base = None  # the tiny one, which ships
    root.mkdir(parents=True, exist_ok=True)
    with open_bytes(ROOT / "data" / "assistant_Tuner.jsonl") as source, open(root / "rows.jsonl", "wb") as out:
        out.writelines(itertools.islice(source, ROWS[profile]))
    found = ManyFigures(gpu_name() if base else "CPU", 0, {}, [], root / "figures.json")
    for row in list_rows(counts):
        if row.gpus > 1 and row.gpus not in found.all_reduce:
            report(tr(f"all-reduce over {row.gpus} GPUs", f"{row.gpus} 张显卡上的 all-reduce"))
            found = measure_all_reduce(found, values, row.gpus, report)
        report(describe_row(row))
        row = known_figures(row, found.rows) or train_row(row, root, base, profile)
        row = replace(row, efficiency=efficiency_of(row, found.rows))
        found.rows.append(row)
        write_json(found.file, asdict(replace(found, file=found.file.name)))
        report(f"  {row.error}" if row.error else f"  {row.tokens_per_second:.0f} tokens/s, {row.step:.3f} s")
    if base:
        shutil.rmtree(base)
    return found


def list_counts(values: Values) -> list[int]:
    """The counts of GPUs that are measured here. Raises UserError where they are fewer than two."""
    if values.profile == "tiny" and values.text("PROFILE"):
        return [1, 2]
    gpus = count_gpus() or 0
    if values.profile != "7b" or gpus < 2:
        raise UserError(
            "bench-gpus",
            tr(
                f"it compares GPUs of one host, and this one has {gpus}",
                f"需要同一台机器上的多张显卡，本机有 {gpus} 张",
            ),
            tr(
                "on one GPU make bench-gpu; make bench-gpus PROFILE=tiny tries it with two processes on the CPU",
                "单卡请用 make bench-gpu；make bench-gpus PROFILE=tiny 在 CPU 上用两个进程试运行",
            ),
        )
    return [count for count in COUNTS if count <= gpus]


def list_rows(counts: list[int]) -> Iterator[Row]:
    """The trainings, without figures: all with the same batch on each GPU, then those with the same batch in all."""
    for batch, (trainer, count) in itertools.product((EACH, ALL), itertools.product(TRAINERS, counts)):
        yield Row(trainer, batch, count, count if batch == EACH else counts[-1])


def describe_row(row: Row) -> str:
    several, each = row.gpus > 1, row.packs > 1
    gpus = tr(f"{row.gpus} GPU{'s' if several else ''}", f"{row.gpus} 张显卡")
    packs = tr(f"{row.packs} pack{'s' if each else ''} a step", f"每步 {row.packs} 个样本")
    return f"{row.trainer}, {gpus}, {packs}"


def known_figures(row: Row, rows: list[Row]) -> Row | None:
    """`row` with the figures of the same training, where it was made for the other batch already."""
    same = (row.trainer, row.gpus, row.packs)
    return next((replace(old, batch=row.batch) for old in rows if (old.trainer, old.gpus, old.packs) == same), None)


def efficiency_of(row: Row, rows: list[Row]) -> float | None:
    """How much of a GPU's tokens/s alone each of the row's GPUs keeps; None where either training failed."""
    if row.tokens_per_second is None or row.gpus == 1:
        return None if row.tokens_per_second is None else 1.0
    same = (row.trainer, row.batch, 1)
    alone = next((old.tokens_per_second for old in rows if (old.trainer, old.batch, old.gpus) == same), None)
    return alone and row.tokens_per_second / alone / row.gpus


def train_row(row: Row, root: Path, base: Path | None, profile: str) -> Row:
    """`row` with what a training through make's stages below `root` took."""
    build, accumulate = root / "run", row.packs // row.gpus
    variables = {
        **{"PROFILE": profile, "BUILD": str(build), "LANG": "C.UTF-8", "SRC": str(root / "rows.jsonl")},
        **{"MAX_LENGTH": str(LENGTHS[profile]), "BATCH": "1", "WARMUP": "0.3", "SAVE_STEPS": "1000"},
        # One pass over the rows is as many steps for each.
        **{"EPOCHS": str(row.packs), "ACCUM": str(accumulate), "NPROC_PER_NODE": str(row.gpus), "ANSWER_TOKENS": "4"},
        **TRAINERS[row.trainer],
    }
    first = None

    def note_first_step() -> None:
        nonlocal first
        if first is None and any(len(read_curve(path)) > 1 for path in build.glob(f"runs/*/work_dir/{CURVE}")):
            first = time.perf_counter() - started

    try:
        shutil.rmtree(layout.runs_folder(build), ignore_errors=True)
        run_stage("data", variables)
        started = time.perf_counter()
        for module in ("model", "config"):
            run_stage(module, variables | ({"MODEL": str(base)} if base else {}))
        run_stage("train", variables, watch=note_first_step)
        run = find_last_run(values_of(build, profile, row.gpus))
        passes = read_curve(run.work_dir / CURVE)[1:]
    except UserError as error:
        return replace(row, error=f"{error.where}: {error.what}" + last_error(error.details))
    groups = [passes[start : start + accumulate] for start in range(0, len(passes) - accumulate + 1, accumulate)]
    groups = groups[len(groups) // 2 :]
    step = statistics.median(sum(line["seconds"] for line in group) for group in groups)
    tokens = statistics.median(sum(line["tokens"] for line in group) for group in groups)
    memory = [(line["memory"], line["reserved"]) for line in passes if "memory" in line]
    return replace(
        row,
        tokens_per_second=tokens / step,
        step=step,
        peak=max((peak for peak, _ in memory), default=None),
        used=max((reserved for _, reserved in memory), default=0) + int(CUDA_CONTEXT) if memory else None,
        first_step=first,
    )


def last_error(details: str) -> str:
    """`: ` and the last line of a failed stage's output; empty without one."""
    lines = [line for line in details.splitlines() if line.strip()]
    return f": {lines[-1]}" if lines else ""


def measure_all_reduce(found: ManyFigures, values: Values, count: int, report: Callable[[str], object]) -> ManyFigures:
    """`found` with the seconds of one all-reduce over `count` processes, in a process group of their own."""
    out = found.file.with_name("all-reduce.json")
    command = module_command(count, "lesson.bench.all_reduce", [str(out)])
    try:
        done = run_process(
            command, engine_environment(values_of(found.file.parent / "run", values.profile, count)), folder=ROOT
        )
        done.require_success("lesson.bench.all_reduce")
        measured = read_json(out, "")
    except UserError as error:
        report(f"  {error.where}: {error.what}" + last_error(error.details))
        return replace(found, all_reduce={**found.all_reduce, count: None})
    report(f"  {measured['bytes'] / 1e6:.0f} MB, {measured['seconds'] * 1000:.1f} ms")
    return replace(found, gradient_bytes=measured["bytes"], all_reduce={**found.all_reduce, count: measured["seconds"]})


def values_of(build: Path, profile: str, count: int) -> Values:
    return Values({"PROFILE": profile, "BUILD": str(build), "NPROC_PER_NODE": str(count)}, {})


def lines_of(found: ManyFigures) -> list[str]:
    """The tables in Markdown, as docs/performance.md has them, and whether fast is above its bars."""
    lines = [found.gpu]
    for batch, title in (
        (EACH, tr("the same batch on each GPU", "每张显卡的批量相同")),
        (ALL, tr("the same batch in all", "总批量相同")),
    ):
        columns = tr(
            "| GPUs | tokens/s | over one GPU | efficiency | GPU memory used | first step |",
            "| 显卡数 | 词元/秒 | 与单卡之比 | 效率 | 显存占用 | 第一步 |",
        )
        lines += ["", title, "", f"| {tr('trainer', '训练器')} {columns}", "|---" * 7 + "|"]
        lines += [line_of(row) for row in found.rows if row.batch == batch]
    lines += [""]
    for count, seconds in found.all_reduce.items():
        if seconds:
            rate = 2 * (count - 1) / count * found.gradient_bytes / seconds
            size = f"{found.gradient_bytes / 1e6:.0f} MB"
            lines.append(f"all-reduce, {count} × {size}: {seconds * 1000:.1f} ms, {rate / 1e9:.0f} GB/s")
    for row in found.rows:
        if found.gpu != "CPU" and row.trainer == "fast" and row.batch == EACH and row.gpus in BARS and row.efficiency:
            over, bar = row.efficiency * row.gpus, BARS[row.gpus]
            verdict = tr("reached", "达到") if over >= bar else tr("MISSED", "未达到")
            lines.append(f"fast, {row.gpus}: {over:.2f} ≥ {bar}: {verdict}")
    return lines


def line_of(row: Row) -> str:
    if row.error:
        return f"| {row.trainer} | {row.gpus} | {tr('failed', '失败')} | – | – | – | – |"
    over = f"{row.efficiency * row.gpus:.2f}" if row.efficiency else "–"
    share = f"{row.efficiency:.1%}" if row.efficiency else "–"
    used = f"{row.used / 1e9:.1f} GB" if row.used else "–"
    first = f"{row.first_step:.0f} s" if row.first_step else "–"
    return f"| {row.trainer} | {row.gpus} | {row.tokens_per_second:.0f} | {over} | {share} | {used} | {first} |"
