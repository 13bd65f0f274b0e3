"""JSON from strangers: parsed under limits, with a place for each thing that is wrong, also what json.loads lets pass."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from lesson.core.messages import tr
from lesson.core.text import shorten

DEEPEST = 64  # levels of nesting


@dataclass(frozen=True, slots=True)
class JsonProblem:
    """Something wrong at one place of a line: the name of its rule, a JSON path, a column from 1, what was found.

    `severity` is given where it differs from the rule's.
    """

    rule: str
    path: str
    column: int | None
    found: str
    severity: str | None = None


BROKEN = object()  # what parse gives back when no value can be had


TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"|[\[\]{},:]|[^\s\[\]{},:"]++', re.DOTALL)


LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def child_path(path: str, key: str | int) -> str:
    """The JSON path one key or index further: $.conversation[0], $["a key"]."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    return f"{path}.{key}" if key.isidentifier() and key.isascii() else f"{path}[{json.dumps(key[:60])}]"


class _Lenient(Exception):
    """The line holds something that json.loads lets pass: a duplicate key, NaN, Infinity, a float too large for one."""


def _pairs_once(pairs: list[tuple[str, object]]) -> dict:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise _Lenient
    return result


def _no_constant(text: str) -> float:
    raise _Lenient


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise _Lenient
    return value


_decode_strictly = json.JSONDecoder(
    object_pairs_hook=_pairs_once, parse_constant=_no_constant, parse_float=_finite
).decode


def parse_strict_json(text: str) -> tuple[object, list[JsonProblem]]:
    """The value of one line and what is wrong with it as JSON; BROKEN where there is no value."""
    if text.startswith("\ufeff"):
        value, problems = parse_strict_json(text[1:])
        return value, [JsonProblem("bom", "", 1, tr("a byte order mark", "字节顺序标记（BOM）")), *problems]
    if text.count("[") + text.count("{") > DEEPEST and (column := _too_deep(text)):
        return BROKEN, [JsonProblem("too-deep", "", column, tr(f"more than {DEEPEST} levels", f"超过 {DEEPEST} 层"))]
    lenient = False
    try:
        try:
            value = _decode_strictly(text)
        except _Lenient:
            value, lenient = json.loads(text), True
    except json.JSONDecodeError as error:
        near = text[max(0, error.pos - 10) : error.pos + 20]
        return BROKEN, [JsonProblem("bad-json", "", error.pos + 1, f"{error.msg}: …{shorten(near)}…")]
    except ValueError:  # Python's limit on digits (sys.set_int_max_str_digits): quadratic time otherwise
        return BROKEN, [JsonProblem("bad-json", "", None, tr("an integer of thousands of digits", "数千位的整数"))]
    if lenient or "\\ud" in text or "\\uD" in text:
        return value, list(_locate(text))
    return value, []


def _too_deep(text: str) -> int | None:
    """The column of the first bracket that opens a level too many."""
    depth = 0
    for match in TOKEN.finditer(text):
        token = match[0]
        if token in "[{":
            depth += 1
            if depth > DEEPEST:
                return match.start() + 1
        elif token in "]}":
            depth -= 1
    return None


def _walk(text: str) -> Iterator[tuple[str, int, str, bool]]:
    """(JSON path, offset, token, whether it is a key) of each key and of the start of each value of valid JSON."""
    path, in_object, index = ["$"], [False], [0]  # for each open container
    at, expecting_key = "$", False
    for match in TOKEN.finditer(text):
        token = match[0]
        if token == "{" or token == "[":
            yield at, match.start(), token, False
            path.append(at)
            in_object.append(token == "{")
            index.append(0)
            expecting_key = token == "{"
            at = at if expecting_key else child_path(at, 0)
        elif token in "]}":
            path.pop(), in_object.pop(), index.pop()
        elif token == ",":
            index[-1] += 1
            expecting_key = in_object[-1]
            if not expecting_key:  # a key says its own path
                at = child_path(path[-1], index[-1])
        elif token == ":":
            expecting_key = False
        elif token[0] == '"' and in_object[-1] and expecting_key:
            at = child_path(path[-1], json.loads(token))
            yield at, match.start(), token, True
        else:
            yield at, match.start(), token, False


def find_paths(text: str) -> dict[str, int]:
    """{JSON path (child_path): offset} of every value in valid JSON; of two under one path, the last."""
    return {at: offset for at, offset, _, is_key in _walk(text) if not is_key}


def find_path(text: str, path: str) -> int | None:
    """The offset in valid JSON of the value at a JSON path; None where there is none."""
    return find_paths(text).get(path)


def _locate(text: str) -> Iterator[JsonProblem]:
    """Duplicate keys, numbers that are none, and lone surrogates of a line that json.loads accepts, with their places."""
    seen: dict[str, set[str]] = {}  # by the path of an object; one that begins anew has no keys yet
    for at, offset, token, is_key in _walk(text):
        column = offset + 1
        if token == "{":
            seen[at] = set()
        elif token[0] == '"':
            string = json.loads(token)
            if is_key:
                keys = seen[_parent_path(at, string)]
                if string in keys:
                    found = tr(f"the key {shorten(string)!r} again", f"键 {shorten(string)!r} 重复")
                    yield JsonProblem("duplicate-key", at, column, found)
                keys.add(string)
            if lone := LONE_SURROGATE.search(string):
                yield JsonProblem("lone-surrogate", at, column, f"\\u{ord(lone[0]):04x}")
        elif token in ("NaN", "Infinity", "-Infinity") or (token[-1].isdigit() and math.isinf(_as_float(token))):
            yield JsonProblem("not-finite", at, column, shorten(token))


def _parent_path(path: str, key: str) -> str:
    return path[: len(path) - len(child_path("", key))]


def _as_float(token: str) -> float:
    return float(token) if "e" in token or "E" in token or "." in token else 0.0  # integers have no limit
