"""What is changed in the pinned versions does what it is there for."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.torch


@pytest.mark.parametrize(("workers", "slept"), [(0, []), (2, [2])])
def test_at_an_epoch_s_end_mmengine_sleeps_exactly_when_the_loader_has_workers(monkeypatch, workers, slept):
    """Its guard against a deadlock of worker processes, for which a loader without any need not wait."""
    import time

    from mmengine.runner import loops
    from torch.utils.data import DataLoader

    from lesson.training.patches import sleep_only_with_workers

    monkeypatch.setattr(loops, "time", time)
    monkeypatch.setattr(loops._InfiniteDataloaderIterator, "__next__", loops._InfiniteDataloaderIterator.__next__)
    found = []
    monkeypatch.setattr(time, "sleep", found.append)
    sleep_only_with_workers()
    batches = loops._InfiniteDataloaderIterator(DataLoader([1, 2, 3], num_workers=workers))
    assert [int(next(batches)) for _ in range(5)] == [1, 2, 3, 1, 2]
    assert found == slept


def test_a_checkpoint_is_written_whole_or_not_at_all(tmp_path):
    """As its runner saves it, in a process that may write 1 MiB into a file only."""
    import subprocess
    import sys

    import torch

    code = """
import resource, sys, torch
from mmengine.runner import runner
from lesson.training.patches import write_checkpoints_whole
write_checkpoints_whole()
runner.save_checkpoint({"a": torch.arange(1000)}, sys.argv[1] + "/small.pth", file_client_args=None, backend_args=None)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
runner.save_checkpoint({"a": torch.zeros(1 << 20)}, sys.argv[1] + "/large.pth")
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 1 and "File too large" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["small.pth"]
    assert torch.load(tmp_path / "small.pth")["a"].sum() == 499500
