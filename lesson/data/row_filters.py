"""Fast filters on the text of canonical rows: which of them need a closer look, and their fields without parsing."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from lesson.data.row_rules import UNSEEN
from lesson.data.rows import STRING, find_marked_lines
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


def _reordering(keys: Sequence[str]) -> tuple[re.Pattern[str], Callable[[re.Match[str]], str]]:
    """A pattern of a turn with the keys in this order, and what puts them into the usual one."""
    pattern = r"\{" + ", ".join(f'"{key}": ({STRING})' for key in keys) + r"\}"
    usual = [key for key in ("system", "input", "output") if key in keys]
    groups = [keys.index(key) + 1 for key in usual]
    turn = "{" + ", ".join(f'"{key}": %s' for key in usual) + "}"
    # Formatting takes a third of the time of a template's expansion.
    return re.compile(pattern), lambda match: turn % match.group(*groups)


# For each order but the usual one: what stands in any text that has such a turn, the pattern, and what puts it right.
_REORDERINGS = [
    ('{"output": "', *_reordering(("output", "input", "system"))),
    ('{"output": "', *_reordering(("output", "system", "input"))),
    ('{"output": "', *_reordering(("output", "input"))),
    (', "system": "', *_reordering(("input", "output", "system"))),
    (', "system": "', *_reordering(("input", "system", "output"))),
    ('{"system": "', *_reordering(("system", "output", "input"))),
]


def usual_order(rows: str) -> str:
    """Canonical rows with system, input and output of each turn in this order."""
    for sign, pattern, put in _REORDERINGS:
        if sign in rows:  # no text has an inner quotation mark without a backslash, so this is never within one
            rows = pattern.sub(put, rows)
    return rows


def may_hold_numbers(block: bytes) -> bool:
    """Whether whole lines could hold a phone or citizen's number."""
    return b"0" * 10 in block.translate(_DIGITS_ALIKE, b" -")


def find_suspect_rows(rows: str, numbers: bool) -> set[int]:
    """The indexes of the canonical rows that need a closer look; `numbers`: whether any could hold a phone number."""
    patterns = (*_SUSPECT, _NUMBER) if numbers else _SUSPECT
    if "{{" in rows:  # rare, and looked for at the speed of memory
        patterns = (*patterns, _BRACES)
    return {index for pattern in patterns for index in find_marked_lines(pattern, rows)}
