"""The JSON Schemas of schemas/, and documents of our own that are held against them before anything believes them."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING

from lesson.core.files import read_json
from lesson.core.messages import UserError
from lesson.core.settings import ROOT
from lesson.core.text import shorten

if TYPE_CHECKING:
    import jsonschema


@functools.cache
def load_schema(name: str) -> jsonschema.Draft7Validator:
    """The validator of schemas/NAME.schema.json."""
    import jsonschema  # not at the top: what only reads settings has no package

    rules = json.loads((ROOT / "schemas" / f"{name}.schema.json").read_text(encoding="utf-8"))
    return jsonschema.Draft7Validator(rules)


def read_document(path: Path, schema: str, remedy: str) -> dict:
    """The JSON document in `path`, valid against schemas/SCHEMA.schema.json. Raises UserError with file and JSON path."""
    document = read_json(path, remedy)
    first = next(load_schema(schema).iter_errors(document), None)
    if first is not None:
        raise UserError(path, f"{first.json_path}: {shorten(first.message)}", remedy)
    return document
