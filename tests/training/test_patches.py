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
