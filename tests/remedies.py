"""The commands in what the code tells its users: of every text in lesson/ and recipe/, and of every table beside them."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from lesson.core.settings import ROOT

HOLE = "{…}"  # what an f-string puts in
# make, with variables before or behind, up to a word that is neither a target nor a variable.
MAKE = re.compile(r"(?<![\w./-])((?:[A-Z][A-Z0-9_]*=\S+ )*)make((?: [^\s;；,，。()（）`、]+)+)")
PYTHON = re.compile(
    r"(?:([A-Za-z0-9_./{}…-]*python3?) -m )?\b(recipe\.\w+)((?: (?:--?[\w-]+|[A-Z…][^\s;；,，。()（）`]*))*)"
)
VALUE = re.compile(r"(?<![\w$.{-])([A-Z][A-Z0-9_]+)=((?:[^\s;；,，。()（）`、\"'：]|,(?=\d))*)")


class Text(NamedTuple):
    """A text that users may read, and where it stands."""

    place: str
    text: str


def texts() -> Iterator[Text]:
    """Every text of the code that is no docstring and no name of a program, and every text of the tables."""
    for path in sorted([*ROOT.glob("lesson/**/*.py"), *ROOT.glob("recipe/*.py")]):
        yield from _texts_of_code(path)
    for path in sorted(ROOT.glob("lesson/**/*.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        yield from (Text(f"{path.relative_to(ROOT)}", text) for text in _strings(document))


# Keys of the tables whose texts users read; the others hold words, names and patterns.
TOLD = ("en", "zh", "why", "remedy", "example", "setting", "instead")


def _strings(value: object, key: str = "") -> Iterator[str]:
    if isinstance(value, str) and key in TOLD:
        yield value
    elif isinstance(value, dict):
        for inner, item in value.items():
            yield from _strings(item, inner)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item, key)


def _texts_of_code(path: Path) -> Iterator[Text]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    left_out: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            left_out.add(node.value)  # a docstring
        elif isinstance(node, ast.keyword) and node.arg == "prog":
            left_out |= set(ast.walk(node.value))
    for node in ast.walk(tree):
        if node in left_out:
            continue
        place = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.JoinedStr):
            parts = [str(v.value) if isinstance(v, ast.Constant) else HOLE for v in node.values]
            left_out |= set(node.values)
            yield Text(place, "".join(parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield Text(place, node.value)


def is_open(value: str) -> bool:
    """Whether a value is left to the user, or to the moment."""
    return not value or HOLE in value or "…" in value or "{" in value
