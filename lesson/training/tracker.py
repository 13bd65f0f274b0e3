"""TRACKER=: losses also written by mmengine's own backend of TensorBoard, Weights & Biases or SwanLab.

XTuner's copy of the config in work_dir shows the backend; the run's config.py and its ID stay, for the training is the
same. Weights & Biases and SwanLab write to the run's folder alone, offline: WANDB_MODE or SWANLAB_MODE say otherwise.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from lesson.config import edits
from lesson.core.files import atomic
from lesson.core.messages import UserError, tr
from lesson.core.settings import Values
from lesson.runs.folder import Run

LOCAL = "dict(type='mmengine.visualization.LocalVisBackend')"
BACKENDS = {
    "tensorboard": "mmengine.visualization.TensorboardVisBackend",
    "wandb": "mmengine.visualization.WandbVisBackend",
    "swanlab": "swanlab.integration.mmengine.SwanlabVisBackend",
}


def list_trackers(values: Values) -> list[str]:
    """The trackers that are asked for; TENSORBOARD=1 is TRACKER=tensorboard. Raises UserError when the package of one is
    not installed."""
    asked = [values.tracker, "tensorboard" if values.tensorboard else ""]
    names = [name for name in dict.fromkeys(asked) if name]
    for name in names:
        if find_spec(name) is None:
            raise UserError(
                f"TRACKER={name}",
                tr(f"the package {name} is not installed", f"没有安装 {name}"),
                f".venv/bin/python -m pip install {name}",
            )
    return names


def write_engine_config(values: Values, run: Run) -> Path:
    """The config as XTuner gets it: the run's own, and with a tracker a copy that names its backend.

    Raises UserError as list_trackers does.
    """
    names = list_trackers(values)
    if not names:
        return run.config
    backends = ", ".join([LOCAL, *(_describe_backend(name, run) for name in names)])
    added = edits.Edit(
        "TRACKER", "visualizer", f"dict(type='mmengine.visualization.Visualizer', vis_backends=[{backends}])"
    )
    path = run.folder / "tracker" / run.config.name
    with atomic(path) as file:
        file.write(edits.apply_edits(run.config.read_text(encoding="utf-8"), [added], str(run.config)))
    return path


def _describe_backend(name: str, run: Run) -> str:
    if name == "tensorboard":
        return f"dict(type='{BACKENDS[name]}')"
    mode = os.environ.get(f"{name.upper()}_MODE") or "offline"
    title = "name" if name == "wandb" else "experiment_name"
    kwargs = {"project": "self-cognition", title: run.folder.name, "mode": mode}
    return f"dict(type='{BACKENDS[name]}', init_kwargs={kwargs!r})"
