"""One way to draw a PNG: no screen, font caches under BUILD, written whole or not at all, same bytes for same values."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from lesson.core.files import atomic
from lesson.core.settings import Values
from lesson.runs.environment import engine_environment


@contextlib.contextmanager
def picture(path: Path, values: Values) -> Iterator:
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
