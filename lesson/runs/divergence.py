"""When a loss tells that training is in vain, and how the trainer's process then ends."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable

DIVERGED = 3  # exit status of the trainer: the loss was not a finite number, or exploded


class Diverged(Exception):
    """Training stops: the loss is no number, or tells of a model that will not recover."""


class DivergenceDetector:
    """Judges each loss (nats per token) of a run against its first: `has_diverged(loss)` is True when training is in vain.

    That is a loss that is no finite number, or three times the first; or, for five steps on end, one that is half as much
    again, or one that is a tenth more and does not move: a model driven to the uniform answer gives the logarithm of the
    vocabulary to whatever it reads, for ever. A healthy run falls from the first and moves from batch to batch.
    """

    EXPLODED, RISEN, DEAD, STILL, ON_END = 3.0, 1.5, 1.1, 1e-3, 5

    def __init__(self, first: float | None = None) -> None:
        self.first = first
        self.last: deque[float] = deque(maxlen=self.ON_END)

    def has_diverged(self, loss: float) -> bool:
        if self.first is None:
            self.first = loss
        usual = max(self.first, 1.0)  # a run may start at a loss near 0, where a factor says nothing
        if not math.isfinite(loss) or loss > self.EXPLODED * usual:
            return True
        self.last.append(loss)
        least, most = min(self.last), max(self.last)
        still = most - least < self.STILL
        return len(self.last) == self.ON_END and least > (self.DEAD if still else self.RISEN) * usual


def has_curve_diverged(steps: Iterable[dict]) -> bool:
    """Whether one of the losses of a curve's steps (curve.read_curve), null where it was no finite number, tells so."""
    detector = DivergenceDetector()
    return any(detector.has_diverged(math.nan if step["loss"] is None else step["loss"]) for step in steps)
