"""What the loader of the training makes columns of: it infers them from the first 10 MiB, and stops at others further on.

`datasets` reads JSON Lines in pieces of that size (packaged_modules/json, chunksize). A key or type that the first piece
has in no row cannot be cast to the columns. Where the first piece has a key with several types, or as a text, any value
fits.
"""

from __future__ import annotations

import collections

from lesson.core.messages import tr
from lesson.core.strict_json import JsonProblem
from lesson.core.text import shorten

CHUNK = 10 << 20  # bytes
DEEPEST_TYPE = 4  # levels of a value that tell its type
SYSTEM = '"system": "'


class LoaderColumns:
    """Rows in their order, as they are written; tells those that the loader would stop at."""

    def __init__(self) -> None:
        self._offset = 0
        self._types: dict[str, set[str]] = collections.defaultdict(set)  # of each key in the first piece
        self._told: set[str] = set()

    def take_canonical(self, text: str, size: int) -> list[tuple[int, JsonProblem]]:
        """(index of the row, problem) of canonical rows, `size` bytes of them: only system may come late there."""
        self._offset += size
        if self._offset <= CHUNK:
            self._types["conversation.input"].add("text")
            self._types["conversation.output"].add("text")
        elif "text" in self._types["conversation.system"] or "conversation.system" in self._told:
            return []
        at = text.find(SYSTEM)
        return self._see(text.count("\n", 0, at), "conversation.system", "text") if at >= 0 else []

    def take_plain(self, text: str, row: dict, size: int) -> list[tuple[int, JsonProblem]]:
        """The same of a parsed row whose conversation is the canonical `text`."""
        found = self.take_canonical(text, size)
        for key, value in row.items():
            if key != "conversation":
                found += self._see(0, key, type_of(value))
        return found

    def take_row(self, row: dict, size: int) -> list[tuple[int, JsonProblem]]:
        """The same of one row that was parsed."""
        self._offset += size
        found, index = [], 0
        for key, value in row.items():
            if key == "conversation":
                for turn in value:
                    for name, part in turn.items():
                        found += self._see(index, f"conversation.{name}", type_of(part))
            else:
                found += self._see(index, key, type_of(value))
        return found

    def _see(self, index: int, key: str, kind: str) -> list[tuple[int, JsonProblem]]:
        types = self._types[key]
        if self._offset <= CHUNK:
            types.add(kind)
            return []
        several = len(types - {"null"}) > 1
        if several or "text" in types or kind in types or (kind == "null" and types) or key in self._told:
            return []
        self._told.add(key)
        name = repr(shorten(key.removeprefix("conversation.")))
        found = tr(
            f"the key {name} with {shorten(kind)} appears only after 10 MiB",
            f"键 {name}（{shorten(kind)}）在 10 MiB 之后才出现",
        )
        path = "$.conversation" if key.startswith("conversation.") else "$"
        return [(index, JsonProblem("late-key", path, None, found))]


def type_of(value: object, depth: int = 0) -> str:
    """The type of a JSON value as the loader tells them apart; that of arrays and objects with what they hold."""
    if isinstance(value, dict) and depth < DEEPEST_TYPE:
        return "{" + ", ".join(f"{key}: {type_of(item, depth + 1)}" for key, item in sorted(value.items())) + "}"
    if isinstance(value, list) and depth < DEEPEST_TYPE:
        return "[" + ", ".join(sorted({type_of(item, depth + 1) for item in value})) + "]"
    names = {str: "text", bool: "true or false", int: "a whole number", float: "a number", type(None): "null"}
    return names.get(type(value), "more")
