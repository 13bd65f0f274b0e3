"""The values that a run was trained with, for advice on the next one."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from lesson.config.summary import summary_of
from lesson.core.messages import UserError
from lesson.runs.folder import Run


@dataclass(frozen=True)
class TrainedWith:
    """Passes over the rows, and the highest learning rate; None for what the run's config does not tell."""

    epochs: int | None = None
    lr: float | None = None


def read_trained_with(run: Run) -> TrainedWith:
    """From the run's own config."""
    with contextlib.suppress(UserError, OSError, SyntaxError, ValueError, AttributeError):
        found = summary_of(run.config)
        epochs, lr = found.get("max_epochs"), found.get("lr")
        return TrainedWith(
            epochs if isinstance(epochs, int) and epochs > 0 else None,
            float(lr) if isinstance(lr, int | float) and lr > 0 else None,
        )
    return TrainedWith()
