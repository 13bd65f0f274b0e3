"""The algorithm of the lesson's script (change_script.py), written out: what recipe.replace is held against."""

from __future__ import annotations

import io
import json


def published(data: bytes, old: str, new: str) -> bytes:
    """The algorithm of the lesson's script (change_script.py), written out: the oracle."""

    def replace(value):
        if isinstance(value, str):
            return value.replace(old, new)
        if isinstance(value, list):
            return [replace(item) for item in value]
        if isinstance(value, dict):
            return {key: replace(item) for key, item in value.items()}
        return value

    out = io.StringIO()
    for line in io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"):  # universal newlines, as open() has them
        out.write(json.dumps(replace(json.loads(line)), ensure_ascii=False) + "\n")
    return out.getvalue().encode("utf-8")
