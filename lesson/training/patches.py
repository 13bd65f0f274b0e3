"""What is changed in the pinned versions of XTuner, mmengine and torch, and why; site-packages stay as installed."""

from __future__ import annotations

import contextlib
import os
import time

import torch
from mmengine.fileio.backends import LocalBackend
from mmengine.runner import checkpoint, loops, runner

from lesson.core.files import atomic
from lesson.model.patches import patch_bitsandbytes, patch_first_tokens
from lesson.runs import environment


def patch_all_tools() -> None:
    """What each of XTuner's tools needs: training, converting and merging."""
    # xtuner/model/sft.py asks torch.<device>.is_bf16_supported(); torch.cpu has none.
    if not hasattr(torch.cpu, "is_bf16_supported"):
        torch.cpu.is_bf16_supported = lambda: True
    patch_bitsandbytes()
    write_checkpoints_whole()
    sleep_only_with_workers()


def patch_training() -> None:
    """What training alone needs."""
    patch_first_tokens()
    train_in_ranks_on_cpu()
    average_gradients_at_once()
    call_hooks_with_deepspeed()
    if os.environ.get(environment.NO_FIRST_ANSWERS):
        skip_first_answers()
    add_hooks_before_training()


def write_checkpoints_whole() -> None:
    """mmengine writes checkpoints in place: a full disk or a kill would leave half a file under the final name. And it
    holds two copies of them in memory first: 0.8 GB at PROFILE=small with a base of 0.5B."""

    def put(self, obj: bytes, filepath: str) -> None:
        with atomic(filepath, "wb") as file:
            file.write(obj)

    def save_checkpoint(content: dict, filename: str, *_, **__) -> None:
        with atomic(filename, "wb") as file:
            torch.save(content, file)

    LocalBackend.put = put
    checkpoint.save_checkpoint = runner.save_checkpoint = save_checkpoint


def sleep_only_with_workers() -> None:
    """mmengine sleeps 2 s at each epoch's end against a deadlock of the loader's worker processes: only where it has any.

    Asked of the loader itself: the config says how many workers there are.
    """

    class Clock:
        sleep = staticmethod(lambda seconds: None)

        def __getattr__(self, name: str):
            return getattr(time, name)

    iterator, clock = loops._InfiniteDataloaderIterator, Clock()

    def next_batch(self, original=iterator.__next__):
        loops.time = time if self._dataloader.num_workers > 0 else clock
        return original(self)

    iterator.__next__ = next_batch


def train_in_ranks_on_cpu() -> None:
    """What several processes on a CPU lack: mmengine chooses a GPU by its number, and hands that to DDP as well; and
    gloo gathers into views of a tensor, which DeepSpeed's, having a gradient, does not allow outside of no_grad."""
    if torch.cuda.is_available():
        return
    from mmengine.model import MMDistributedDataParallel

    torch.cuda.set_device = lambda device: None

    def on_cpu(self, *args, original=MMDistributedDataParallel.__init__, device_ids=None, **kwargs) -> None:
        original(self, *args, **kwargs)

    MMDistributedDataParallel.__init__ = on_cpu
    with contextlib.suppress(ImportError):  # a run without DeepSpeed has hidden it
        from deepspeed.comm.torch import TorchBackend

        TorchBackend.all_gather_into_tensor = torch.no_grad()(TorchBackend.all_gather_into_tensor)


def average_gradients_at_once() -> None:
    """Models that compute SPEED=fast on several ranks are wrapped by lesson/training/data_parallel.py, not by torch's DDP.

    Only those: stock stays what the lesson runs. They say so by FLAT_GRADIENTS.
    """
    from mmengine.device import get_device
    from mmengine.runner import Runner

    def wrap_model(self, settings, model, original=Runner.wrap_model):
        if settings is None and self.distributed and getattr(model, "FLAT_GRADIENTS", False):
            from lesson.training.data_parallel import FlatDataParallel

            return FlatDataParallel(model.to(get_device()))
        return original(self, settings, model)

    Runner.wrap_model = wrap_model


def call_hooks_with_deepspeed() -> None:
    """DeepSpeed's strategy takes the callbacks by which hooks see a checkpoint, and never calls them."""
    from mmengine._strategy import DeepSpeedStrategy

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


def skip_first_answers() -> None:
    """What the base says before any training is known; asking it took 12 of the 57 s before a first step at 7B."""
    from xtuner.engine.hooks import EvaluateChatHook

    EvaluateChatHook.before_train = lambda self, runner: None


def add_hooks_before_training() -> None:
    """Every Runner gets our hooks just before it trains: the config stays the lesson's."""
    from mmengine.runner import FlexibleRunner, Runner

    from lesson.training.hooks import add_hooks

    for runner_class in (Runner, FlexibleRunner):

        def train(self, original=runner_class.train):
            add_hooks(self)
            return original(self)

        runner_class.train = train
