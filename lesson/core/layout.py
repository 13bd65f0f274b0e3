"""Every path below BUILD, spelled once: stages write there, and later ones read what they find."""

from __future__ import annotations

from pathlib import Path

from lesson.core.settings import Values


def config_path(values: Values) -> Path:
    """Where `make config` writes: BUILD/config/<BASE_CONFIG>_copy.py, the name that `xtuner copy-cfg` gives."""
    return values.build / "config" / f"{values.base_config}_copy.py"


def model_dir(values: Values) -> Path:
    """The base model's folder as the config names it; the model stage makes it."""
    return values.build / "model"


def data_path(values: Values) -> Path:
    """The changed data as the config names it; the data stage makes it."""
    return output_path(values.build)


def output_path(build: Path) -> Path:
    """Where make data writes the changed rows, and config and preview read them."""
    return build / "data" / "assistant_Tuner_change.jsonl"
