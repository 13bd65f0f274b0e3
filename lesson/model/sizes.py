"""The sizes of the base model that the config stage chooses values by."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from lesson.core.layout import base_model
from lesson.core.messages import UserError
from lesson.core.settings import Values
from lesson.model.base_record import recorded_base
from lesson.model.known_bases import BASE_SIZES, family_and_size
from lesson.model.shape import Shape, shape_of
from lesson.model.tiny_base import SHIPPED


@dataclass(frozen=True)
class BaseSizes:
    """A base in numbers; None where that is not known."""

    parameters: int | None = None
    positions: int | None = None  # tokens that it can read at once (max_position_embeddings)
    tokenizer: Path | None = None  # its tokenizer.json
    tokens: int | None = None  # of an iteration, that this machine's memory is sure to hold
    shape: Shape | None = None


def read_base_sizes(values: Values) -> BaseSizes:
    """The sizes of the base that will be trained: MODEL's, else those of BUILD/model, else at tiny of the one that ships.

    Those of a MODEL that was named by its name on a hub are known before it is downloaded, where it is in the table.
    """
    there = base_model(values.build)
    places = [there, *([SHIPPED] if values.profile == "tiny" else [])]
    if values.model and recorded_base(values.build).get("named") != values.model:
        places = [Path(values.model)]
    for folder in places:
        if (folder / "config.json").is_file():
            return sizes_of(folder)
    if (known := family_and_size(values.model)) in BASE_SIZES:
        shape = shape_of(BASE_SIZES[known], values.model)
        return BaseSizes(shape.parameters, shape=shape)
    return BaseSizes()


def sizes_of(folder: Path) -> BaseSizes:
    """The sizes of the base in `folder`; what its config.json does not tell is None."""
    tokenizer = folder / "tokenizer.json"
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        config = None
    if not isinstance(config, dict):
        return BaseSizes(tokenizer=tokenizer)
    positions = config.get("max_position_embeddings")
    positions = positions if isinstance(positions, int) and positions > 0 else None
    try:
        shape = shape_of(config, folder)
    except UserError:  # a family that is not known: make model says so
        return BaseSizes(None, positions, tokenizer)
    return BaseSizes(shape.parameters, positions, tokenizer, shape=shape)
