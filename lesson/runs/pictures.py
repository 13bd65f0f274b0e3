"""PNGs of runs, all drawn in one way: no screen, font caches under BUILD, whole or not at all, same bytes for same values."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from lesson.core.files import atomic
from lesson.core.settings import Values
from lesson.runs.environment import engine_environment


@contextlib.contextmanager
def draw_picture(path: Path, values: Values) -> Iterator:
    """Axes to draw on, 840 by 480 pixels; saved to `path` when the block ended well."""
    os.environ.setdefault("MPLCONFIGDIR", engine_environment(values)["MPLCONFIGDIR"])
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4), dpi=120)
    try:
        yield axes
        figure.tight_layout()
        with atomic(path, "wb") as file:
            figure.savefig(file, format="png", metadata={"Software": None})
    finally:
        pyplot.close(figure)


def draw_loss_curve(curve: list[dict], path: Path, values: Values) -> None:
    """The loss curve as a PNG: each step in grey, a running mean over 10 steps in colour."""
    steps, losses = [c["step"] for c in curve], [c["loss"] for c in curve]
    means = [sum(losses[max(0, i - 9) : i + 1]) / len(losses[max(0, i - 9) : i + 1]) for i in range(len(losses))]
    with draw_picture(path, values) as axes:
        axes.plot(steps, losses, color="0.75", linewidth=1, label="loss of each step")
        axes.plot(steps, means, color="tab:blue", linewidth=2, label="mean of 10 steps")
        axes.set(xlabel="step", ylabel="loss (nats per token)", ylim=(0, None), xlim=(0, steps[-1]))
        axes.grid(alpha=0.3)
        axes.legend()
