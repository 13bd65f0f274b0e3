"""JSON documents of a submission, read strictly, and the schemas that they are held against."""

from __future__ import annotations

import re

from lesson.core.messages import tr
from lesson.core.refusals import Broken
from lesson.core.strict_json import BROKEN, child_path, parse_strict_json
from lesson.core.text import shorten

LARGEST_INTEGER = 2**64
LONG_NUMBER = re.compile(r"\d{20}")


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
    if LONG_NUMBER.search(text) and (where := find_long_integer(value)) is not None:
        raise Broken(f"{name}: {where}: " + tr("an integer of more than 64 bits", "超过 64 位的整数"))
    if schema:
        from lesson.core.schemas import load_schema  # only where a document is judged: the checker starts light

        first = next(load_schema(schema).iter_errors(value), None)
        if first is not None:
            raise Broken(f"{name}: {first.json_path}: {shorten(first.message)}")
    return value


def find_long_integer(value: object) -> str | None:
    """The JSON path of an integer too large to be computed with: Python's has no limit, and as a float it raises."""
    waiting = [("$", value)]
    while waiting:
        path, item = waiting.pop()
        if isinstance(item, int) and abs(item) >= LARGEST_INTEGER:
            return path
        if isinstance(item, dict):
            waiting += [(child_path(path, key), inner) for key, inner in item.items()]
        elif isinstance(item, list):
            waiting += [(child_path(path, index), inner) for index, inner in enumerate(item)]
    return None
