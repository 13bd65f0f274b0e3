"""JSON documents of a submission, read strictly, and the schemas that they are held against."""

from __future__ import annotations

import json

import jsonschema

from lesson.core.refusals import Broken
from lesson.core.settings import ROOT
from lesson.core.strict_json import BROKEN, parse_strict_json
from lesson.core.text import shorten


def load_schema(name: str) -> jsonschema.Draft7Validator:
    """The validator of schemas/NAME.schema.json."""
    rules = json.loads((ROOT / "schemas" / f"{name}.schema.json").read_text(encoding="utf-8"))
    return jsonschema.Draft7Validator(rules)


def parse_document(data: bytes, name: str, schema: str | None = None) -> object:
    """One JSON document, strict, of bounded depth, valid against schemas/SCHEMA.schema.json. Raises Broken."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise Broken(f"{name}: UTF-8: {error.reason}") from None
    value, problems = parse_strict_json(text)
    if problems or value is BROKEN:
        first = problems[0]
        raise Broken(f"{name}: {first.path} {first.found}".replace("  ", " "))
    if schema:
        first = next(load_schema(schema).iter_errors(value), None)
        if first is not None:
            raise Broken(f"{name}: {first.json_path}: {shorten(first.message)}")
    return value
