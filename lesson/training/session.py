"""make train: XTuner's trainer in a process of its own; believed only by its exit status and what it left.

Inputs: the config (BUILD/config/…, or CONFIG=), the rows and the base that it names. Output: a run folder (see
lesson/runs/folder.py). The same command resumes a run that was stopped, and is up to date when the run is finished.
"""

from __future__ import annotations

import fcntl
import math
import platform
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from lesson.config import edits
from lesson.config.check import check_config_file
from lesson.config.context import config_context
from lesson.config.schedule import world_size
from lesson.config.summary import summary_of
from lesson.core import cli
from lesson.core.files import atomic, read_json, record_path, sha256, write_json
from lesson.core.layout import config_file, runs_folder
from lesson.core.machine import describe_machine
from lesson.core.messages import UserError, tr
from lesson.core.settings import ROOT, Values
from lesson.data.persona import read_persona
from lesson.runs import pictures as plots
from lesson.runs.checkpoint import find_checkpoint, is_whole, step_of
from lesson.runs.curve import CURVE, curve_lines
from lesson.runs.environment import engine_environment
from lesson.runs.folder import Run, run_id, set_last_run
from lesson.training import progress, ranks
from lesson.training.exit_status import DIVERGED
from lesson.training.inputs import hash_of_input, recorded_base_hash

PROCESSES = ["NPROC_PER_NODE", "NNODES", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT"]
SETTINGS = [
    *("PROFILE", "SPEED", "DETERMINISTIC", "TRACE", "BUILD", "CONFIG", "BASE_CONFIG", "DEEPSPEED"),
    *("NEW_NAME", "OLD_NAME", "TENSORBOARD", *PROCESSES),
]
VERSIONS = ["torch", "xtuner", "transformers", "mmengine", "peft", "bitsandbytes", "deepspeed", "datasets"]
LEAST_FREE = {"tiny": 200 << 20, "7b": 8 << 30}  # bytes: two checkpoints with optimizer state, and the adapter
WINDOW = 10  # steps averaged at both ends of the curve: single steps are noisy


def train(values: Values) -> int:
    source = Path(values.config) if values.config else config_file(values.build, values.base_config)
    if not source.is_file():
        raise UserError(source, tr("no config", "没有配置"), tr("run make config", "请先运行 make config"))
    facts = summary_of(source)
    data, model = trained_on(facts, source)
    deepspeed = deepspeed_config(values)
    inputs = {
        "config": sha256(source),
        "data": hash_of_input(data, tr("run make data", "请先运行 make data")),
        "base": recorded_base_hash(model),
    }
    name = run_id(inputs, deepspeed, world_size(values))
    run = Run(runs_folder(values.build) / name, values.node_rank)
    if run.record.exists() and finished(run):
        set_last_run(values.build, run)
        print(
            tr(
                f"up to date: this config, data and base are trained: {run.folder}",
                f"已是最新：{run.folder} 已训练完成",
            )
        )
        return 0
    ranks.judge(values, facts, source, deepspeed)
    judge(source, values)
    run.work_dir.mkdir(parents=True, exist_ok=True)
    enough_disk(run.folder, values.profile)
    with locked(run):
        keep_inputs(run, source, data)
        wall, memory, resumed = launch(values, run, deepspeed)
        if run.node:
            print(
                tr(f"node {run.node}: done; node 0 keeps the record", f"{run.node} 号机器：完成；记录由 0 号机器保存")
            )
            return 0
        record = make_record(values, run, inputs, deepspeed, wall, memory, resumed, source, data)
        write_json(run.record, record)
        draw(record["curve"], run.picture, values)
        set_last_run(values.build, run)
    return report(run, record)


def trained_on(facts: dict, source: Path) -> tuple[Path, Path]:
    """The data file and the base model folder that the config names. Raises UserError when it names none."""
    data, model = facts.get("data_file"), facts.get("model_path")
    if not data or not model:
        what = tr("names no data file or no base model", "没有写明数据文件或基座模型")
        raise UserError(
            source, what, tr(f"run make check-config CONFIG={source}", f"请运行 make check-config CONFIG={source}")
        )
    return Path(data), Path(model)


def judge(source: Path, values: Values) -> None:
    """Print what make check-config finds in the config; raise UserError on the first error: training would be in vain."""
    verdict = check_config_file(source, config_context(values, True, None))
    for finding in verdict.findings:
        print(finding, file=sys.stderr)
    for finding in verdict.findings:
        if finding.severity == "error":
            raise UserError(f"{finding.file}:{finding.line}", f"{finding.found}; {finding.why}", finding.remedy)


def deepspeed_config(values: Values) -> str | None:
    """What goes behind XTuner's --deepspeed. On a CPU, fp16 and bf16 off: profiles/NAME_cpu.json."""
    asked = values.deepspeed_config
    if asked == "none":
        return None
    if values.profile == "7b" or asked.endswith(".json"):
        return asked
    ours = ROOT / "profiles" / f"{asked}_cpu.json"
    if not ours.is_file():
        names = ", ".join(sorted(p.name.removesuffix("_cpu.json") for p in ours.parent.glob("*_cpu.json")))
        raise UserError(
            f"DEEPSPEED={asked}",
            tr("no CPU form of it", "没有对应的 CPU 配置"),
            tr(f"use one of {names}, or none", f"可用：{names} 或 none"),
        )
    return str(ours.relative_to(ROOT))


def enough_disk(folder: Path, profile: str) -> None:
    free = shutil.disk_usage(folder).free
    if free < LEAST_FREE[profile]:
        raise UserError(
            folder,
            tr(
                f"{free >> 20} MiB free, {LEAST_FREE[profile] >> 20} MiB needed",
                f"剩余 {free >> 20} MiB，需要 {LEAST_FREE[profile] >> 20} MiB",
            ),
            tr("free some disk space or set BUILD to another disk", "请清理磁盘，或把 BUILD 设到别的磁盘"),
        )


@contextmanager
def locked(run: Run):
    """Only one trainer writes into a run folder. The lock dies with the process that holds it."""
    with open(run.lock, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                run.folder,
                tr("is being trained right now", "正在训练中"),
                tr("wait for it, or stop it", "请等待或先停止它"),
            ) from None
        yield


def keep_inputs(run: Run, source: Path, data: Path) -> None:
    """Copy config and rows into the run folder: what was trained on stays readable after the next make data."""
    for path, kept in ((source, run.config), (data, run.data)):
        with atomic(kept, "wb") as file:
            file.write(path.read_bytes())


def finished(run: Run) -> bool:
    """True when the record's checkpoint is there, byte for byte."""
    facts = run.read_record()
    path = run.folder / facts["checkpoint"]["path"]
    return is_whole(path) and (path.is_dir() or sha256(path) == facts["checkpoint"]["sha256"])


def launch(values: Values, run: Run, deepspeed: str | None) -> tuple[float, int, int]:
    """Run the trainer to its end with a progress bar. Returns wall seconds, peak host memory in bytes, resumed step.

    Raises UserError when the trainer's exit status is not 0 or when its last checkpoint is not the last step's.
    """
    last = find_checkpoint(run.work_dir, world_size(values))
    resumed = step_of(last) if last else 0
    total = total_steps(run)
    started = time.monotonic()
    if last is None or resumed != total:
        tool = ["train", str(engine_config(values, run)), "--work-dir", str(run.work_dir)]
        if last:
            tool += ["--resume", str(last)]
            print(tr(f"resuming at step {resumed}", f"从第 {resumed} 步继续"))
        environment = engine_environment(values)
        if deepspeed:
            tool += ["--deepspeed", deepspeed]
            environment.update(one_process())  # torchrun gives each of several processes its own
        watch(ranks.command(values, tool), environment, run)
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024  # Linux: ru_maxrss is in KiB
    end = find_checkpoint(run.work_dir, world_size(values))
    if end is None or step_of(end) != total_steps(run):
        what = tr("the trainer ended without the last step's checkpoint", "训练结束了，但没有最后一步的检查点")
        raise UserError(run.work_dir, what, tr(f"read {run.console}", f"请查看 {run.console}"))
    return time.monotonic() - started, memory, resumed


def one_process() -> dict[str, str]:
    """What DeepSpeed reads to know that it is alone; without it, it looks for MPI."""
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": ranks.free_port()}
    return {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", **address}


def engine_config(values: Values, run: Run) -> Path:
    """The config as XTuner gets it: the run's own, with TENSORBOARD=1 and mmengine's TensorBoard backend added to it.

    XTuner's copy in work_dir shows the addition; config.py and the run's ID stay, for the training is the same.
    """
    if not values.tensorboard:
        return run.config
    backends = "[dict(type='mmengine.visualization.LocalVisBackend'), dict(type='mmengine.visualization.TensorboardVisBackend')]"
    added = edits.Edit(
        "TENSORBOARD", "visualizer", f"dict(type='mmengine.visualization.Visualizer', vis_backends={backends})"
    )
    path = run.folder / "tensorboard" / run.config.name
    with atomic(path) as file:
        file.write(edits.apply_edits(run.config.read_text(encoding="utf-8"), [added], str(run.config)))
    return path


def total_steps(run: Run) -> int | None:
    head = curve_lines(run.work_dir / CURVE)[:1]
    return head[0]["total"] if head else None


def watch(command: list[str], environment: dict[str, str], run: Run) -> None:
    """Start `command`, show its curve as it grows, wait for its end. Raises UserError on a status other than 0."""
    print(tr(f"training; log: {run.console}", f"开始训练；日志：{run.console}"), flush=True)
    with open(run.console, "ab") as log:
        child = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT, cwd=Path.cwd())
    try:
        progress.follow(child, run.work_dir / CURVE)
    except BaseException:
        child.send_signal(signal.SIGINT)
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        raise
    if child.returncode == DIVERGED:
        where = said(run.console)
        raise UserError(
            run.work_dir,
            tr(f"the loss exploded or was not a number ({where})", f"损失发散或不是数值（{where}）"),
            tr(
                "lower the learning rate (LR=) or train in bf16 (DTYPE=bfloat16)",
                "请降低学习率（LR=）或改用 bf16（DTYPE=bfloat16）",
            ),
        )
    if child.returncode != 0:
        what = tr(f"the trainer failed with exit status {child.returncode}", f"训练进程失败，退出码 {child.returncode}")
        what = said(run.console) or what
        print("\n".join(tail(run.console, 12)), file=sys.stderr)
        raise UserError(run.console, what, tr("read the lines above and the log", "请查看上面的输出和日志"))


def said(console: Path) -> str:
    """The engine's own last word, `recipe: …`, among the end of the console; empty without one."""
    ours = [line for line in tail(console, 50) if line.startswith("recipe: ")]
    return ours[-1].removeprefix("recipe: ") if ours else ""


def tail(path: Path, lines: int) -> list[str]:
    with open(path, encoding="utf-8", errors="replace") as file:
        return [line.rstrip("\n") for line in deque(file, lines)]


def make_record(
    values: Values,
    run: Run,
    inputs: dict[str, str],
    deepspeed: str | None,
    wall: float,
    memory: int,
    resumed: int,
    source: Path,
    data: Path,
) -> dict:
    """The run record, as schemas/run.schema.json has it."""
    head, *steps = curve_lines(run.work_dir / CURVE)
    losses = [step["loss"] for step in steps]
    if len(steps) != head["total"] or None in losses:
        what = tr(
            f"{len(steps)} steps of {head['total']} in the curve", f"损失曲线只有 {len(steps)}/{head['total']} 步"
        )
        raise UserError(
            run.work_dir / CURVE, what, tr("move the run folder away and train again", "请移走该目录后重新训练")
        )
    path = find_checkpoint(run.work_dir)
    window = min(WINDOW, max(1, len(losses) // 2))
    gpu = [step["memory"] for step in steps if "memory" in step]
    return {
        "format": 1,
        "id": run.folder.name,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "profile": values.profile,
        "speed": values.speed,
        "names": names_of(values, data),
        "persona": read_persona(data),
        "config": source.name,
        "deepspeed": deepspeed,
        "processes": world_size(values),
        "seed": summary_of(run.config).get("seed"),
        "inputs": inputs,
        "versions": {name: metadata.version(name) for name in VERSIONS} | {"python": platform.python_version()},
        "machine": describe_machine(with_gpu=values.profile == "7b"),
        "samples": head["samples"],
        "steps": head["total"],
        "resumed_at": resumed,
        "loss": {
            "window": window,
            "first": math.fsum(losses[:window]) / window,
            "last": math.fsum(losses[-window:]) / window,
        },
        "seconds": {"wall": round(wall, 1), "steps": round(math.fsum(s["seconds"] for s in steps), 1)},
        "tokens": sum(step["tokens"] for step in steps),
        "peak_memory": {"host": memory, "gpu": max(gpu) if gpu else None},
        "checkpoint": {
            "path": str(path.relative_to(run.folder)),
            "sha256": None if path.is_dir() else sha256(path),
        },
        "curve": [{"step": s["step"], "loss": s["loss"], "lr": s["lr"]} for s in steps],
    }


def names_of(values: Values, data: Path) -> dict[str, str]:
    """The names of the rows: those that make data recorded beside them, else what the call says."""
    if record_path(data).exists():
        parameters = read_json(record_path(data), tr("run make data", "请先运行 make data"))["parameters"]
        old, new = parameters["replaced"][0]
        return {"old": old, "new": new}
    return {"old": values.old_name, "new": values.new_name}


def draw(curve: list[dict], path: Path, values: Values) -> None:
    """The loss curve as a PNG: each step in grey, a running mean over 10 steps in colour."""
    steps, losses = [c["step"] for c in curve], [c["loss"] for c in curve]
    means = [sum(losses[max(0, i - 9) : i + 1]) / len(losses[max(0, i - 9) : i + 1]) for i in range(len(losses))]
    with plots.picture(path, values) as axes:
        axes.plot(steps, losses, color="0.75", linewidth=1, label="loss of each step")
        axes.plot(steps, means, color="tab:blue", linewidth=2, label="mean of 10 steps")
        axes.set(xlabel="step", ylabel="loss (nats per token)", ylim=(0, None), xlim=(0, steps[-1]))
        axes.grid(alpha=0.3)
        axes.legend()


def report(run: Run, record: dict) -> int:
    first, last = record["loss"]["first"], record["loss"]["last"]
    seconds, host = record["seconds"]["wall"], record["peak_memory"]["host"]
    print(
        tr(
            f"trained {record['steps']} steps in {seconds:.0f} s, loss {first:.3f} → {last:.3f}, peak memory {host / 2**30:.2f} GiB",
            f"训练 {record['steps']} 步，用时 {seconds:.0f} 秒，损失 {first:.3f} → {last:.3f}，内存峰值 {host / 2**30:.2f} GiB",
        )
    )
    print(
        tr(
            f"run: {run.folder}  record: {run.record.name}  curve: {run.picture.name}",
            f"结果：{run.folder}  记录：{run.record.name}  曲线：{run.picture.name}",
        )
    )
    if not last < first:
        print(
            tr(
                "the loss did not fall: the assistant learned nothing; check data and learning rate",
                "损失没有下降：没有学到东西，请检查数据和学习率",
            ),
            file=sys.stderr,
        )
        return 1
    print(tr("next: make eval, make chat, make web", "下一步：make eval、make chat、make web"))
    return 0


def main(arguments: list[str] | None = None) -> int:
    return cli.run("train", __doc__, SETTINGS, train, sys.argv[1:] if arguments is None else arguments)
