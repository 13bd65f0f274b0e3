"""The Python of configs: what a config may call by name, the names that a node binds, and excerpts of the source."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Callable, Iterator

BUILTINS: dict[str, Callable] = {"int": int, "float": float, "str": str, "bool": bool, "len": len, "abs": abs}
PYTHON_NAMES = frozenset(dir(builtins))  # what Python knows without an import


class SourceText:
    """Excerpts of the source by node, at most 200 characters: ast.unparse on every level would take quadratic time."""

    def __init__(self, source: str) -> None:
        self.lines = [line.encode() for line in re.split(r"\r\n|\r|\n", source)]

    def __call__(self, node: ast.AST) -> str:
        line = self.lines[node.lineno - 1][node.col_offset :]
        if node.end_lineno == node.lineno:
            line = line[: node.end_col_offset - node.col_offset]
        return line.decode(errors="ignore").strip()[:200] + ("" if node.end_lineno == node.lineno else " …")


def bound_names(node: ast.AST) -> Iterator[str]:
    """The names that `node` itself gives a value: imports, and targets of assignments."""
    match node:
        case ast.Import(names=names):
            yield from ((a.asname or a.name).split(".")[0] for a in names)
        case ast.ImportFrom(names=names):
            yield from (a.asname or a.name for a in names)
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
            yield name
