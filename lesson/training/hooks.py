"""What is added to XTuner's training loop: the curve, the random state in checkpoints, one loss for all ranks, a trace."""

from __future__ import annotations

import json
import math
import os
import random
import time
from pathlib import Path

import numpy
import torch
from mmengine import dist
from mmengine.hooks import Hook

from lesson.core.files import atomic
from lesson.runs import environment
from lesson.runs.curve import CURVE, read_curve
from lesson.runs.divergence import Diverged, DivergenceDetector
from lesson.training.weights import take_census

TRACE_TABLE, TRACE_FILE = "trace.txt", "trace.json.gz"  # in work_dir


def add_hooks(runner) -> None:
    """Give a Runner our hooks just before it trains: the config stays the lesson's."""
    ranks = MeanLossHook() if dist.get_world_size() > 1 else None
    if ranks:
        runner.register_hook(ranks, priority="HIGHEST")  # before those that log
    # Before the checkpoint of the same step: a run that goes on from one has the line of its step, whenever it was killed.
    runner.register_hook(CurveHook(ranks), priority="LOW")
    if os.environ.get(environment.TRACE):
        runner.register_hook(TraceHook(), priority="VERY_LOW")


class CurveHook(Hook):
    """Writes the curve, keeps the random state in the checkpoint, stops a run that diverges. `ranks` is there where
    several processes train."""

    priority = "LOW"

    def __init__(self, ranks: MeanLossHook | None = None) -> None:
        self.ranks = ranks
        self.restore: dict | None = None
        self.file = None

    def before_train(self, runner) -> None:
        # The loader draws a seed for its workers at every epoch; from a generator of its own, so that the draws
        # of a resumed run (which skips batches) and of an uninterrupted one leave the same global state.
        runner.train_dataloader.generator = torch.Generator().manual_seed(runner.seed or 0)
        self.rank0 = dist.get_rank() == 0
        model = getattr(runner.model, "module", runner.model)  # in several processes it is wrapped
        if hasattr(model, "prepare_weights"):
            model.prepare_weights()
        self.census = take_census(runner.model)
        path = Path(runner.work_dir) / CURVE
        steps = [line for line in read_curve(path) if "step" in line and line["step"] <= runner.iter]
        self.divergence = DivergenceDetector(steps[0]["loss"] if steps else None)
        if not self.rank0:
            return
        head = {"total": runner.max_iters, "samples": len(runner.train_dataloader.dataset)}
        head |= {"trained": self.census.trained, "layers_in_4_bits": self.census.layers_in_4_bits}
        with atomic(path) as file:
            file.writelines(json.dumps(line) + "\n" for line in [head, *steps])
        self.file = open(path, "a", encoding="utf-8")  # noqa: SIM115 (open for the whole training)

    def after_train(self, runner) -> None:
        if take_census(runner.model).frozen_sum != self.census.frozen_sum:
            raise RuntimeError("training changed weights of the base that it must leave alone")

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        if self.restore is not None:
            set_random_state(self.restore)
            self.restore = None
        self.lr = runner.optim_wrapper.get_lr()["lr"][0]  # the one this step is made with
        self.started = time.perf_counter()

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        loss = float(outputs["loss"])
        step = runner.iter + 1
        tokens = self.ranks.tokens if self.ranks else count_tokens(data_batch)
        if self.rank0:
            line = {
                "step": step,
                "loss": loss if math.isfinite(loss) else None,
                "lr": self.lr,
                "tokens": tokens,
                "seconds": round(time.perf_counter() - self.started, 4),
            }
            if torch.cuda.is_available():
                line["memory"] = torch.cuda.max_memory_allocated()
                line["reserved"] = torch.cuda.max_memory_reserved()
            self.file.write(json.dumps(line) + "\n")
            self.file.flush()
        if self.divergence.has_diverged(loss):
            raise Diverged(f"step {step}: loss {loss:.3f}, {self.divergence.first:.3f} at the start")

    def before_save_checkpoint(self, runner, checkpoint) -> None:
        checkpoint["random_state"] = random_state()

    def after_load_checkpoint(self, runner, checkpoint) -> None:
        self.restore = checkpoint.get("random_state")


class TraceHook(Hook):
    """Profiles three steps once all is warm: trace.txt, a table of kernels, and trace.json.gz for a trace viewer."""

    priority = "VERY_LOW"
    first, last = 12, 14

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        if runner.iter + 1 == self.first:
            self.profiler = torch.profiler.profile()
            self.profiler.start()

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if runner.iter + 1 == self.last:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            self.profiler.stop()
            order = f"self_{'cuda' if torch.cuda.is_available() else 'cpu'}_time_total"
            table = self.profiler.key_averages().table(sort_by=order, row_limit=40, max_name_column_width=90)
            with atomic(Path(runner.work_dir) / TRACE_TABLE) as file:
                file.write(table)
            self.profiler.export_chrome_trace(str(Path(runner.work_dir) / TRACE_FILE))


class MeanLossHook(Hook):
    """With several processes: one loss for all of them, in the curve, in XTuner's log and for stopping a diverging run.

    Each rank computes the mean loss of its own samples, and the gradients that are averaged are those of that loss;
    so what is logged is the mean over ranks. Without it rank 0's samples alone would be logged. `tokens` are those of
    all ranks in the last step.
    """

    tokens = 0

    def before_train(self, runner) -> None:
        steps = dist.all_gather(torch.tensor([runner.iter]))
        if len({int(step) for step in steps}) > 1:
            raise RuntimeError(f"ranks begin at different steps {steps}: BUILD must be one folder for all nodes")

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        # One call and one wait a step, in float64, which holds a loss and a count exactly.
        loss = outputs["loss"].detach()
        sums = torch.stack([loss.double(), torch.tensor(count_tokens(data_batch)).to(loss.device).double()])
        dist.all_reduce(sums)
        total, tokens = sums.tolist()
        outputs["loss"], self.tokens = torch.tensor(total / dist.get_world_size(), dtype=loss.dtype), int(tokens)


def count_tokens(batch: dict | None) -> int:
    """The tokens of a step's batch, padding among them."""
    return int(batch["data"]["input_ids"].numel()) if batch else 0


def random_state() -> dict:
    """The state of every generator that training draws from: Python, NumPy, torch on CPU and on each GPU."""
    return {
        "python": random.getstate(),
        "numpy": numpy.random.get_state(),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_state(state: dict) -> None:
    random.setstate(state["python"])
    numpy.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"].cpu())
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all([s.cpu() for s in state["cuda"]])
