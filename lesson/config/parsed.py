"""One config as values: what reading a config makes, and what the rules, the estimate and the records ask."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from lesson.config.diff import ast_hash


@dataclass(frozen=True)
class Ref:
    """An object that the config imports, by its full name: never imported here."""

    name: str


@dataclass(frozen=True)
class Unknown:
    """An expression that folding does not follow, as source."""

    source: str


class FoldedDict(dict):
    """A folded dict that remembers the line of each key; a key that holds a variable has the variable's line."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: dict[object, int] = {}


@dataclass(frozen=True)
class Problem:
    """Something in the source that a config has no use for. `kind` is the id of a rule (rules.json)."""

    kind: str
    line: int
    found: str


@dataclass
class ParsedConfig:
    """One config: `values` of its variables, `lines` of their assignments, `problems`, and what it imports."""

    file: str
    sha256: str = ""
    source: str | None = None  # None when it is not Python
    base: list[str] = field(default_factory=list)
    imports: dict[str, str] = field(default_factory=dict)
    values: dict[str, object] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def get(self, path: str, default: object = None) -> object:
        """The value at a dotted path below the config's variables, or `default`."""
        node: object = self.values
        for key in path.split("."):
            if not isinstance(node, dict) or key not in node:
                return default
            node = node[key]
        return node

    def line(self, path: str) -> int:
        """The line that decides the value at `path`: the innermost key that is there, or its variable's assignment."""
        first, *rest = path.split(".")
        node, line = self.values.get(first), self.lines.get(first, 1)
        for key in rest:
            if not isinstance(node, FoldedDict) or key not in node:
                break
            line, node = node.lines.get(key, line), node[key]
        return line

    def ast_sha256(self) -> str | None:
        """The hash of the normalised source; None when it is not Python, or nested too deep to be written again."""
        try:
            return None if self.source is None else ast_hash(self.source)
        except RecursionError:
            return None


def as_json(value: object) -> object:
    """A folded value as JSON: {"ref": name} for an imported object, {"unknown": source} for what was not folded."""
    match value:
        case Ref(name):
            return {"ref": name}
        case Unknown(source):
            return {"unknown": source}
        case dict():
            return {str(key): as_json(item) for key, item in value.items()}
        case list() | tuple():
            return [as_json(item) for item in value]
        case str():  # a lone surrogate can be folded, not written
            return value.encode("utf-8", "backslashreplace").decode()
        case float() if value != value or abs(value) == float("inf"):
            return {"unknown": repr(value)}
    return value


def walk_values(config: ParsedConfig) -> Iterator[tuple[object, object, int]]:
    """(key, value, line) of every value, dicts and lists included; what stands in a list has the list's key."""
    stack = [(key, value, config.lines.get(key, 1)) for key, value in config.values.items()]
    while stack:
        key, value, line = stack.pop()
        yield key, value, line
        if isinstance(value, FoldedDict):
            stack.extend((k, v, value.lines.get(k, line)) for k, v in value.items())
        elif isinstance(value, list | tuple):
            stack.extend((key, item, line) for item in value)


def show_value(value: object) -> str:
    """A value as the user wrote it, shortened."""
    match value:
        case Ref(name):
            text = name
        case Unknown(source):
            text = source
        case tuple():
            items = ", ".join(map(show_value, value[:80]))
            text = f"({items},)" if len(value) == 1 else f"({items})"
        case _:
            text = repr(as_json(value))
    return text if len(text) <= 80 else text[:79] + "…"
