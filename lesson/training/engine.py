"""XTuner's own tools, run in a process of their own with what they lack: `python -m recipe.engine train CONFIG …`.

The parent (lesson/training/session.py, convert.py, merge.py) believes only this process's exit status and the files it leaves.
What is patched, and why, is in `patch_all`; site-packages stays as it was installed. The training hook writes one
line per step to `curve.jsonl`, in full precision: the progress bar, the run record, the goldens and the comparison of
two runs all read that one file.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import math
import os
import random
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from lesson.core.files import atomic
from lesson.core.processes import die_with_parent
from lesson.model.patches import patch_bitsandbytes
from lesson.runs import environment
from lesson.runs.curve import CURVE, curve_lines
from lesson.runs.environment import NO_FIRST_ANSWERS
from lesson.training import ranks
from lesson.training.exit_status import DIVERGED

TOOLS = {
    "train": "xtuner.tools.train",
    "convert": "xtuner.tools.model_converters.pth_to_hf",
    "merge": "xtuner.tools.model_converters.merge",
}
TRACE = "trace"


def patch_all() -> None:
    """Mend what keeps the pinned versions from working together. Each part says why it is here."""
    import torch

    # xtuner/model/sft.py asks torch.<device>.is_bf16_supported(); torch.cpu has none.
    if not hasattr(torch.cpu, "is_bf16_supported"):
        torch.cpu.is_bf16_supported = lambda: True

    patch_bitsandbytes()

    # mmengine writes checkpoints in place: a full disk or a kill would leave half a file under the final name.
    from mmengine.fileio.backends import LocalBackend

    def put(self, obj: bytes, filepath: str) -> None:
        with atomic(filepath, "wb") as file:
            file.write(obj)

    LocalBackend.put = put

    sleep_only_with_workers()


def sleep_only_with_workers() -> None:
    """mmengine sleeps 2 s at each epoch's end against a deadlock of the loader's worker processes: only where it has any.

    Asked of the loader itself: the config says how many workers there are.
    """
    from mmengine.runner import loops

    class Clock:
        sleep = staticmethod(lambda seconds: None)

        def __getattr__(self, name: str):
            return getattr(time, name)

    iterator, clock = loops._InfiniteDataloaderIterator, Clock()

    def next_batch(self, original=iterator.__next__):
        loops.time = time if self._dataloader.num_workers > 0 else clock
        return original(self)

    iterator.__next__ = next_batch


def random_state() -> dict:
    """The state of every generator that training draws from: Python, NumPy, torch on CPU and on each GPU."""
    import numpy
    import torch

    return {
        "python": random.getstate(),
        "numpy": numpy.random.get_state(),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_state(state: dict) -> None:
    import numpy
    import torch

    random.setstate(state["python"])
    numpy.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"].cpu())
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all([s.cpu() for s in state["cuda"]])


class Diverged(Exception):
    """Training stops: the loss is no number, or tells of a model that will not recover."""


class Divergence:
    """Judges each loss (nats per token) of a run against its first: `lost(loss)` is True when training is in vain.

    That is a loss that is no finite number, or three times the first; or, for five steps on end, one that is half as much
    again, or one that is a tenth more and does not move: a model driven to the uniform answer gives the logarithm of the
    vocabulary to whatever it reads, for ever. A healthy run falls from the first and moves from batch to batch.
    """

    EXPLODED, RISEN, DEAD, STILL, ON_END = 3.0, 1.5, 1.1, 1e-3, 5

    def __init__(self, first: float | None = None) -> None:
        self.first = first
        self.last: deque[float] = deque(maxlen=self.ON_END)

    def lost(self, loss: float) -> bool:
        if self.first is None:
            self.first = loss
        usual = max(self.first, 1.0)  # a run may start at a loss near 0, where a factor says nothing
        if not math.isfinite(loss) or loss > self.EXPLODED * usual:
            return True
        self.last.append(loss)
        least, most = min(self.last), max(self.last)
        still = most - least < self.STILL
        return len(self.last) == self.ON_END and least > (self.DEAD if still else self.RISEN) * usual


def frozen(model) -> tuple[int, int, int]:
    """Of a model: trained parameters, layers whose weight is held in 4 bits, and a sum over every frozen weight's bits.

    The sum (of 16-bit integers, or of bytes in 4-bit layers) is taken before and after training: LoRA leaves it alone.
    """
    import torch

    trained, layers, total = 0, 0, 0
    for parameter in model.parameters():
        if parameter.requires_grad:
            trained += getattr(parameter, "ds_numel", parameter.numel())
            continue
        bits = getattr(parameter, "ds_tensor", parameter).detach()  # under ZeRO-3 this rank's part, gathered or not
        layers += getattr(parameter, "quant_state", None) is not None
        total += int(
            bits.reshape(-1).view(torch.uint8 if bits.element_size() == 1 else torch.int16).sum(dtype=torch.int64)
        )
    return trained, layers, total


def add_training_hook() -> None:
    """Give every Runner our hook just before it trains: the config stays the lesson's."""
    import torch
    from mmengine._strategy import DeepSpeedStrategy
    from mmengine.hooks import Hook
    from mmengine.runner import FlexibleRunner, Runner

    class CurveHook(Hook):
        """Writes the curve, keeps the random state in the checkpoint, stops a run that diverges."""

        priority = "VERY_LOW"

        def __init__(self) -> None:
            self.restore: dict | None = None
            self.file = None

        def before_train(self, runner) -> None:
            # The loader draws a seed for its workers at every epoch; from a generator of its own, so that the draws
            # of a resumed run (which skips batches) and of an uninterrupted one leave the same global state.
            runner.train_dataloader.generator = torch.Generator().manual_seed(runner.seed or 0)
            self.rank0 = int(os.environ.get("RANK", "0")) == 0
            trained, layers, self.frozen = frozen(runner.model)
            path = Path(runner.work_dir) / CURVE
            steps = [line for line in curve_lines(path) if "step" in line and line["step"] <= runner.iter]
            self.divergence = Divergence(steps[0]["loss"] if steps else None)
            if not self.rank0:
                return
            head = {"total": runner.max_iters, "samples": len(runner.train_dataloader.dataset)}
            head |= {"trained": trained, "layers_in_4_bits": layers}
            with atomic(path) as file:
                file.writelines(json.dumps(line) + "\n" for line in [head, *steps])
            self.file = open(path, "a", encoding="utf-8")  # noqa: SIM115 (open for the whole training)

        def after_train(self, runner) -> None:
            if frozen(runner.model)[2] != self.frozen:
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
            tokens = ranks.total(int(data_batch["data"]["input_ids"].numel()) if data_batch else 0)
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
            if self.divergence.lost(loss):
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
                with atomic(Path(runner.work_dir) / f"{TRACE}.txt") as file:
                    file.write(table)
                self.profiler.export_chrome_trace(str(Path(runner.work_dir) / f"{TRACE}.json.gz"))

    # DeepSpeed's strategy takes the callbacks by which hooks see a checkpoint, and never calls them.
    def save_checkpoint(self, *args, original=DeepSpeedStrategy.save_checkpoint, **kwargs):
        if kwargs.get("callback"):
            kwargs["callback"](kwargs.setdefault("extra_ckpt", {}))
        return original(self, *args, **kwargs)

    def resume(self, *args, original=DeepSpeedStrategy.resume, **kwargs):
        checkpoint = original(self, *args, **kwargs)
        if kwargs.get("callback"):
            kwargs["callback"](checkpoint)
        return checkpoint

    DeepSpeedStrategy.save_checkpoint, DeepSpeedStrategy.resume = save_checkpoint, resume

    if os.environ.get(NO_FIRST_ANSWERS):
        # What the base says before any training is known; asking it took 12 of the 57 s before a first step at 7B.
        from xtuner.engine.hooks import EvaluateChatHook

        EvaluateChatHook.before_train = lambda self, runner: None

    for runner_class in (Runner, FlexibleRunner):

        def train(self, original=runner_class.train):
            ranks.add_hook(self)
            self.register_hook(CurveHook(), priority="VERY_LOW")
            if os.environ.get(environment.TRACE):
                self.register_hook(TraceHook(), priority="VERY_LOW")
            return original(self)

        runner_class.train = train


@contextlib.contextmanager
def collector_off() -> Iterator[None]:
    """No garbage collection in the block: it takes a fifth of the time in which 6000 modules are imported."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # what was imported stays for good: never looked at again
        gc.enable()


def main(arguments: list[str]) -> int:
    die_with_parent()
    tool, *rest = arguments
    with collector_off():
        if tool == "train":
            if "--deepspeed" not in rest and "deepspeed" not in Path(rest[0]).read_text(encoding="utf-8").lower():
                # Python's mark of a module that is not there. mmengine imports DeepSpeed wherever it is installed, which
                # takes as long as importing torch.
                sys.modules["deepspeed"] = None
            ranks.patch()
            add_training_hook()
        patch_all()
        module = importlib.import_module(TOOLS[tool])
    sys.argv = [TOOLS[tool], *rest]
    try:
        module.main()
    except Diverged as error:
        print(f"recipe: diverged at {error}", file=sys.stderr)
        return DIVERGED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
