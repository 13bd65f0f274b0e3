"""Fast filters on the text of canonical rows: which of them need a closer look, and their fields without parsing."""

from __future__ import annotations

import re

from lesson.data.row_rules import UNSEEN
from lesson.data.rows import find_marked_lines
from lesson.data.rules import ANY_PLACEHOLDER, PLACEHOLDER_STARTS

# What makes a row worth a closer look. Each is fast on whole blocks; a row without any is clean.
_SUSPECT = (
    # In canonical text `"output": "` stands only before an answer, and `": "` only before a value.
    re.compile(
        rf'": "(?=["\s\\{re.escape(PLACEHOLDER_STARTS)}])(?:(?<="output": ")(?:\s|\\[nrtfb])*+"'
        r"|(?:\s|\\[nrtfb])*+" + ANY_PLACEHOLDER.pattern + '")',
        re.IGNORECASE,
    ),
    # Unseen characters, as such or escaped, and e-mail addresses. One set of first characters stands in front of the
    # alternatives, so that the regex engine skips over all others.
    re.compile(f"[{UNSEEN}@\\\\](?:(?<=\\\\)(?:u00|[bf])|(?<=[{UNSEEN}@]))"),
)

# Every phone and citizen's number. Slow on rows with numbers, so only for blocks where, digits made alike and
# separators taken out, there is a run of ten: a test at the speed of memory.
_NUMBER = re.compile(r"[0-9](?:[- ]?[0-9]){9}")

_BRACES = re.compile(r"\{\{")
_DIGITS_ALIKE = bytes(ord("0") if chr(i) in "0123456789" else i for i in range(256))

_FIELD = re.compile(r'"(system|input|output)": "((?:[^"\\]++|\\.)*+)"')


def split_fields(row: str) -> list[tuple[str, str]]:
    """(key, value as in the text) of all turns of a canonical row, in order."""
    if "\\" in row:
        return _FIELD.findall(row)
    parts = row.split('"')  # {" conversation ": [{" system ": " … ", " input ": " … : every fourth is a key
    return list(zip(parts[3::4], parts[5::4], strict=True))


_TURNS = re.compile(r'"(system|input|output)": "((?:[^"\\]++|\\.)*+)"(\}?)')


def split_turns(row: str) -> list[dict[str, str]]:
    """{key: value as in the text} of each turn of a canonical row, whatever the order of its keys."""
    if "\\" in row:
        found = _TURNS.findall(row)
    else:
        parts = row.split('"')  # behind every value stands ", " or what ends the turn
        found = [
            (key, value, after[0] == "}")
            for key, value, after in zip(parts[3::4], parts[5::4], parts[6::4], strict=True)
        ]
    turns: list[dict[str, str]] = [{}]
    for key, value, last in found:
        turns[-1][key] = value
        if last:
            turns.append({})
    return turns[:-1]


def usual_order(row: str) -> str:
    """A canonical row with system, input and output of each turn in this order."""
    turns = (
        ", ".join(f'"{key}": "{turn[key]}"' for key in ("system", "input", "output") if key in turn)
        for turn in split_turns(row)
    )
    return '{"conversation": [{' + "}, {".join(turns) + "}]}"


def may_hold_numbers(block: bytes) -> bool:
    """Whether whole lines could hold a phone or citizen's number."""
    return b"0" * 10 in block.translate(_DIGITS_ALIKE, b" -")


def find_suspect_rows(rows: str, numbers: bool) -> set[int]:
    """The indexes of the canonical rows that need a closer look; `numbers`: whether any could hold a phone number."""
    patterns = (*_SUSPECT, _NUMBER) if numbers else _SUSPECT
    if "{{" in rows:  # rare, and looked for at the speed of memory
        patterns = (*patterns, _BRACES)
    return {index for pattern in patterns for index in find_marked_lines(pattern, rows)}
