"""The lesson on a real base at PROFILE=small: tokens per second beside a plain PEFT loop, memory, the time of each stage."""

from __future__ import annotations

import itertools
import json
import resource
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from lesson.bench.stages import run_stage
from lesson.core import layout
from lesson.core.files import read_json, write_json
from lesson.core.messages import UserError, tr
from lesson.core.processes import run_process
from lesson.core.settings import ROOT, Values
from lesson.data.rows import open_bytes
from lesson.model.shape import shape_of
from lesson.runs.curve import CURVE, read_curve
from lesson.runs.environment import engine_environment
from lesson.runs.folder import Run, find_last_run

ROUNDS = 6  # a step of ours and one of the plain loop in each; the first WARM do not count
WARM = 2
SHORT_ROWS = 150  # of the source, for a short run
TRAINING = ("data", "model", "config", "train")
WHOLE = (*TRAINING, "convert", "merge", "evaluate", "submission", "check")  # from rows to verdict
BARS = ((400e6, 200, 25 * 60), (0, 600, 8 * 60))  # from how many parameters: tokens/s and seconds of the whole lesson
MOST_MEMORY = 6e9  # bytes


@dataclass
class StageCost:
    """What a stage took with all its processes: seconds by the clock, seconds of processors, peak memory in bytes."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory: int = 0
    status: int | None = None  # None: it was stopped


@dataclass(frozen=True)
class SmallFigures:
    """What was measured. `speed` and `plain_speed` are tokens per second of steps made in turn, `cpu` and `plain_cpu`
    tokens per second of one processor; `trained` is the speed of the whole training. The stages' costs are none where the
    run was short, and so is `persona`, the share of right names under the persona."""

    base: str
    parameters: int
    trained: float
    speed: float
    plain_speed: float
    cpu: float
    plain_cpu: float
    plain_memory: int
    stages: dict[str, StageCost] = field(default_factory=dict)
    persona: float | None = None

    @property
    def ratio(self) -> float:
        return self.speed / self.plain_speed


def measure_small(values: Values, whole: bool, report: Callable[[str], object]) -> tuple[SmallFigures, Path]:
    """Train the base MODEL below BUILD with all rows and every stage (`whole`), or one pass over a part of them; then
    steps beside a plain PEFT loop. The figures, and the JSON file that holds them.

    What was stopped goes on: its seconds are added up. FORCE=1 starts anew. Raises UserError when MODEL is not set or a
    stage fails.
    """
    if not values.model:
        remedy = tr("set MODEL= to the folder of a base of 0.1 to 2B", "请用 MODEL= 指定 0.1 到 2B 的基座目录")
        raise UserError("MODEL", tr("no base model is named", "没有指定基座模型"), remedy)
    name = Path(values.model).name
    root = layout.bench_folder(values.build, "bench-small") / (name if whole else f"{name}-short")
    if values.force:
        shutil.rmtree(root, ignore_errors=True)
    build = root / "run"
    variables = {"PROFILE": "small", "BUILD": str(build), "MODEL": values.model, "NEW_NAME": values.new_name}
    variables |= {"SRC": values.src} if whole else short_run(values.src, root / "rows.jsonl")
    stages = run_stages(WHOLE if whole else TRAINING, variables, root / "stages.json", report)
    run = find_last_run(Values({"PROFILE": "small", "BUILD": str(build)}, {}))
    report(tr("steps in turn with a plain PEFT loop", "与普通 PEFT 循环交替训练"))
    steps = measure_steps(run, root / "steps.json")
    config = layout.base_model(build) / "config.json"
    figures = SmallFigures(
        name,
        shape_of(read_json(config, ""), config).parameters,
        trained_speed(run),
        *(step_speed(steps, which, "seconds") for which in ("small", "plain")),
        *(step_speed(steps, which, "cpu_seconds") for which in ("small", "plain")),
        steps["plain_peak_memory"],
        stages if whole else {},
        persona_share(run) if whole else None,
    )
    write_json(root / "figures.json", asdict(figures))
    return figures, root / "figures.json"


def short_run(source: str, target: Path) -> dict[str, str]:
    """The variables of a run of one pass, on the first rows of `source`, which are written to `target`. The samples are as
    long as with all rows: few rows by themselves get short ones, which a step costs almost as much."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with open_bytes(Path(source)) as rows, open(target, "wb") as out:
        out.writelines(itertools.islice(rows, SHORT_ROWS))
    return {"SRC": str(target), "EPOCHS": "1", "WARMUP": "0.2", "MAX_LENGTH": "512"}


def run_stages(
    stages: tuple[str, ...], variables: Mapping[str, str], kept: Path, report: Callable[[str], object]
) -> dict[str, StageCost]:
    """Each of `stages` in a process of its own, but those that `kept` knows as done with the same variables.

    What a stage took is added to `kept` also when it is stopped. The evaluation and the check may find the lesson wanting.
    """
    before = read_kept(kept, variables)
    for name in stages:
        cost = before.setdefault(name, StageCost())
        if cost.status is not None:
            continue
        report(f"make {name}")
        packed = f"{variables['BUILD']}/submission.zip"
        more = {"submission": {"NAME": "bench", "OUT": packed}, "check": {"SUBMISSION": packed}}.get(name, {})
        started, worked = time.perf_counter(), children_cpu()
        try:
            done = run_stage(name, {**variables, **more}, may_fail=name in ("evaluate", "check"))
            if done.status not in (0, 1):
                done.require_success(name)
            cost.status, cost.peak_memory = done.status, max(cost.peak_memory, done.peak_memory)
        finally:
            cost.seconds += time.perf_counter() - started
            cost.cpu_seconds += children_cpu() - worked
            write_json(kept, {"variables": dict(variables), "stages": {n: asdict(c) for n, c in before.items()}})
    return before


def read_kept(kept: Path, variables: Mapping[str, str]) -> dict[str, StageCost]:
    """What an earlier call with the same variables wrote there; {} without one."""
    try:
        found = json.loads(kept.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if found["variables"] != dict(variables):
        return {}
    return {name: StageCost(**cost) for name, cost in found["stages"].items()}


def children_cpu() -> float:
    """Processor seconds of all processes that this one started and that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def trained_speed(run: Run) -> float:
    """Tokens per second of the run's median step."""
    steps = read_curve(run.work_dir / CURVE)[1:]
    return statistics.median(step["tokens"] / step["seconds"] for step in steps[WARM:])


def persona_share(run: Run) -> float:
    """The share of questions under the persona that the run answers with the new name."""
    prompts = read_json(run.evaluation / "evaluation.json", "")["prompts"]
    persona = next(counts for counts in prompts if counts["prompt"] == "persona")
    return persona["new"] / persona["questions"]


def measure_steps(run: Run, out: Path) -> dict:
    """What lesson/bench/plain_peft.py measures on the run's rows and base, in its batches and threads."""
    command = [sys.executable, "-m", "lesson.bench.plain_peft", "--config", str(run.config), "--data", str(run.data)]
    command += ["--rounds", str(ROUNDS), "--out", str(out)]
    environment = engine_environment(Values({"PROFILE": "small", "BUILD": str(run.folder.parent.parent)}, {}))
    run_process(command, environment, folder=ROOT).require_success("plain PEFT")
    return read_json(out, "")


def step_speed(steps: dict, which: str, unit: str) -> float:
    """Tokens per second (`unit`: of the clock or of processors) of the median step of `which`."""
    return steps["tokens"] / statistics.median(steps[which][unit][WARM:])


def lines_of(found: SmallFigures) -> list[str]:
    """The table in Markdown, each figure beside its bar."""
    _, speed, longest = next(bar for bar in BARS if found.parameters >= bar[0])
    rows = [
        ("tokens/s of the training", f"{found.trained:.0f}", f"at least {speed}", found.trained >= speed),
        ("steps in turn: ours, tokens/s", f"{found.speed:.0f}", "", True),
        ("steps in turn: plain PEFT, tokens/s", f"{found.plain_speed:.0f}", "", True),
        ("ratio", f"{found.ratio:.2f}", "", True),
        ("tokens per processor second: ours", f"{found.cpu:.0f}", "", True),
        ("tokens per processor second: plain PEFT", f"{found.plain_cpu:.0f}", "", True),
        ("peak memory of plain PEFT", f"{found.plain_memory / 1e9:.1f} GB", "", True),
    ]
    if found.stages:
        costs = found.stages.values()
        total, peak = sum(cost.seconds for cost in costs), max(cost.peak_memory for cost in costs)
        rows += [
            (
                f"make {name}",
                f"{c.seconds:.0f} s ({c.cpu_seconds:.0f} s of processors, {c.peak_memory / 1e9:.1f} GB)",
                "",
                True,
            )
            for name, c in found.stages.items()
        ]
        worked = sum(cost.cpu_seconds for cost in costs)
        rows += [
            ("the whole lesson", f"{total / 60:.1f} min", f"at most {longest / 60:.0f} min", total <= longest),
            ("the whole lesson, processors", f"{worked / 60:.1f} min", "", True),
            ("peak memory", f"{peak / 1e9:.1f} GB", "under 6 GB", peak < MOST_MEMORY),
            ("right name under the persona", f"{found.persona:.0%}", "at least 95%", found.persona >= 0.95),
        ]
    return [
        f"{found.base}, {found.parameters / 1e6:.0f}M parameters",
        "| figure | measured | bar |",
        "|---|---|---|",
        *(f"| {name} | {value} | {bar}{'' if met else ' — MISSED'} |" for name, value, bar, met in rows),
    ]
