"""The tensors of a model folder by name, each read when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lesson.core.files import read_json
from lesson.core.messages import tr


def find_tensors(folder: Path) -> dict[str, Callable]:
    """{name: function that reads the tensor} over all shards of a model folder; one tensor at a time in memory."""
    from safetensors import safe_open

    index = folder / "model.safetensors.index.json"
    names = ["model.safetensors"]
    if index.exists():
        names = sorted(set(read_json(index, tr("merge again", "请重新合并"))["weight_map"].values()))
    found = {}
    for shard in names:
        file = safe_open(folder / shard, framework="pt")
        found |= {name: lambda file=file, name=name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return found
