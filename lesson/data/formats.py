"""How rows of the four formats are told apart, by their first keys; lesson/data/conversion.py turns one into another."""

from __future__ import annotations

FORMAT_KEYS = {"xtuner": "conversation", "messages": "messages", "sharegpt": "conversations", "alpaca": "instruction"}


def detect_format(row: object) -> str | None:
    """The format whose own key the row has, else None."""
    if isinstance(row, dict):
        for name, key in FORMAT_KEYS.items():
            if key in row:
                return name
    return None


def detect_document(head: str) -> str:
    """What the start of a file looks like when it is not JSON Lines: "array", "pretty-printed" or ""."""
    head = head.lstrip("\ufeff \t\r\n")
    if head.startswith("["):
        return "array"
    first = head.split("\n", 1)[0].strip()
    if first.startswith("{") and "\n" in head.strip():
        # A first line that ends where more must follow, and a second one that could not begin a row.
        rest = head.split("\n", 1)[1].lstrip()
        if (first.endswith(("{", "[", ",")) and not rest.startswith("{")) or first == "{":
            return "pretty-printed"
    return ""
