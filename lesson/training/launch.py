"""The engine as a child process: started or resumed, watched to its end, and not believed without its checkpoint."""

from __future__ import annotations

import resource
import signal
import subprocess
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from lesson.core.messages import UserError, tr
from lesson.core.settings import Values
from lesson.runs.checkpoint import find_checkpoint, step_of
from lesson.runs.curve import CURVE, read_curve
from lesson.runs.divergence import DIVERGED
from lesson.runs.environment import engine_environment
from lesson.runs.folder import Run
from lesson.training.deepspeed import single_process_environment
from lesson.training.inputs import TrainingInputs
from lesson.training.progress import Display, follow_training
from lesson.training.ranks import engine_command, host_environment
from lesson.training.tracker import write_engine_config


@dataclass(frozen=True)
class EngineWork:
    """What a finished training took in its last session."""

    seconds: float
    peak_memory: int  # of the host, in bytes
    resumed_at: int  # the step; 0 for a training that was never stopped


def run_engine(values: Values, run: Run, inputs: TrainingInputs, display: Display) -> EngineWork:
    """Run the trainer to its end, or go on from the last whole checkpoint; nothing is left to do after the last step's.

    Raises UserError when the trainer's exit status is not 0 or when its last checkpoint is not the last step's.
    """
    last = find_checkpoint(run.work_dir, inputs.processes)
    resumed = step_of(last) if last else 0
    started = time.monotonic()
    if last is None or resumed != read_total_steps(run):
        tool = ["train", str(write_engine_config(values, run)), "--work-dir", str(run.work_dir)]
        if last:
            tool += ["--resume", str(last)]
            display.report(tr(f"resuming at step {resumed}", f"从第 {resumed} 步继续"))
        environment = engine_environment(values) | host_environment(values)
        if inputs.deepspeed:
            tool += ["--deepspeed", inputs.deepspeed]
            environment.update(single_process_environment())  # torchrun gives each of several processes its own
        watch_engine(engine_command(values, tool), environment, run, display)
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024  # Linux: ru_maxrss is in KiB
    end = find_checkpoint(run.work_dir, inputs.processes)
    if end is None or step_of(end) != read_total_steps(run):
        what = tr("the trainer ended without the last step's checkpoint", "训练结束了，但没有最后一步的检查点")
        raise UserError(run.work_dir, what, tr(f"read {run.console}", f"请查看 {run.console}"))
    return EngineWork(time.monotonic() - started, memory, resumed)


def read_total_steps(run: Run) -> int | None:
    head = read_curve(run.work_dir / CURVE)[:1]
    return head[0]["total"] if head else None


def watch_engine(command: list[str], environment: dict[str, str], run: Run, display: Display) -> None:
    """Start `command`, show its curve as it grows, wait for its end. Raises UserError on a status other than 0."""
    display.report(tr(f"training; log: {run.console}", f"开始训练；日志：{run.console}"))
    with open(run.console, "ab") as log:
        child = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT, cwd=Path.cwd())
    try:
        follow_training(child, run.work_dir / CURVE, display)
    except BaseException:
        child.send_signal(signal.SIGINT)
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        raise
    if child.returncode == DIVERGED:
        where = read_last_word(run.console)
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
        what = read_last_word(run.console) or what
        remedy = tr("read the lines above and the log", "请查看上面的输出和日志")
        raise UserError(run.console, what, remedy, details="\n".join(read_last_lines(run.console, 12)))


def read_last_word(console: Path) -> str:
    """The engine's own last word, `recipe: …`, among the end of the console; empty without one."""
    ours = [line for line in read_last_lines(console, 50) if line.startswith("recipe: ")]
    return ours[-1].removeprefix("recipe: ") if ours else ""


def read_last_lines(path: Path, lines: int) -> list[str]:
    with open(path, encoding="utf-8", errors="replace") as file:
        return [line.rstrip("\n") for line in deque(file, lines)]
