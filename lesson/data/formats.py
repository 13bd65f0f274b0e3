"""How rows of the known formats are told apart, by their keys; lesson/data/conversion.py turns one into another."""

from __future__ import annotations

import json
from collections.abc import Iterable

# The key that rows of a format have and others have not, in the order in which they are looked for.
FORMAT_KEYS = {"xtuner": "conversation", "messages": "messages", "sharegpt": "conversations", "alpaca": "instruction"}
# Read, not written: ms-swift's query and response, and a plain question with its answer.
FORMATS = (*FORMAT_KEYS, "swift", "pairs")

# What people call the parts of a pair, in JSON and at the head of a table.
PAIR_KEYS = {
    "question": "input",
    **dict.fromkeys(("input", "prompt", "query", "instruction", "user", "q"), "input"),
    **dict.fromkeys(("问题", "问", "提问", "用户", "用户问题", "客户问题", "問題"), "input"),
    "answer": "output",
    **dict.fromkeys(("output", "response", "completion", "reply", "assistant", "a"), "output"),
    **dict.fromkeys(("回答", "答", "答案", "回复", "答复", "助手", "回覆"), "output"),
    **dict.fromkeys(("system", "system_prompt", "系统", "系统提示", "系统提示词", "人设"), "system"),
}


LONGEST_PAIR_KEY = 8  # characters of a key such as 标准答案 or 客户的问题


def pair_part(key: str) -> str | None:
    """What a key of a pair holds: "input", "output" or "system"; None for another key."""
    key = key.strip().lower()
    if key in PAIR_KEYS:
        return PAIR_KEYS[key]
    asks, answers = "问题" in key or "提问" in key, any(word in key for word in ("答案", "回答", "回复", "答复"))
    return None if asks == answers or len(key) > LONGEST_PAIR_KEY else "input" if asks else "output"


def is_pair(keys: Iterable[str]) -> bool:
    """Whether a question and an answer are among the keys."""
    parts = {pair_part(key) for key in keys}
    return "input" in parts and "output" in parts


def detect_format(row: object) -> str | None:
    """The format that the row's keys are those of, else None."""
    if not isinstance(row, dict):
        return None
    for name in ("xtuner", "messages", "sharegpt"):
        if FORMAT_KEYS[name] in row:
            return name
    if "instruction" in row and "output" in row:
        return "alpaca"
    if "query" in row and "response" in row:
        return "swift"
    if is_pair(row):
        return "pairs"
    return "alpaca" if "instruction" in row else None


def detect_document(head: str) -> str:
    """What the start of a file looks like when it is not JSON Lines: "array", "pretty-printed" or ""."""
    head = head.lstrip("\ufeff \t\r\n")
    if head.startswith("["):
        return "array"
    first, newline, rest = head.partition("\n")
    if not first.startswith("{") or not newline or not rest.strip():
        return ""
    try:
        json.JSONDecoder().raw_decode(first)
        return ""  # the first line has a whole row
    except (ValueError, RecursionError):
        pass
    try:
        json.JSONDecoder().raw_decode(head)
        return "pretty-printed"
    except (ValueError, RecursionError):
        pass
    # Damaged, or more than the head: a first line that ends where more must follow, and a second that begins no row.
    if (first.rstrip().endswith(("{", "[", ",")) and not rest.lstrip().startswith("{")) or first.strip() == "{":
        return "pretty-printed"
    return ""
