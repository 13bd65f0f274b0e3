"""Fast filters on the text of canonical rows: which of them need a closer look, and their fields without parsing."""

from __future__ import annotations

import re

from lesson.data.row_rules import UNSEEN
from lesson.data.rows import find_marked_lines
from lesson.data.rules import PLACEHOLDER, PLACEHOLDER_STARTS

# What makes a row worth a closer look. Each is fast on whole blocks; a row without any is clean.
_SUSPECT = (
    # In canonical text `"output": "` stands only before an answer, and `": "` only before a value.
    re.compile(
        rf'": "(?=["\s\\{re.escape(PLACEHOLDER_STARTS)}])(?:(?<="output": ")(?:\s|\\[nrtfb])*+"'
        r"|(?:\s|\\[nrtfb])*+" + PLACEHOLDER.pattern + '")',
        re.IGNORECASE,
    ),
    # Unseen characters, as such or escaped, and e-mail addresses. One set of first characters stands in front of the
    # alternatives, so that the regex engine skips over all others.
    re.compile(f"[{UNSEEN}@\\\\](?:(?<=\\\\)(?:u00|[bf])|(?<=[{UNSEEN}@]))"),
)

# Every phone and citizen's number. Slow on rows with numbers, so only for blocks where, digits made alike and
# separators taken out, there is a run of ten: a test at the speed of memory.
_NUMBER = re.compile(r"[0-9](?:[- ]?[0-9]){9}")

_DIGITS_ALIKE = bytes(ord("0") if chr(i) in "0123456789" else i for i in range(256))

_FIELD = re.compile(r'"(system|input|output)": "((?:[^"\\]++|\\.)*+)"')


def split_fields(row: str) -> list[tuple[str, str]]:
    """(key, value as in the text) of all turns of a canonical row, in order."""
    if "\\" in row:
        return _FIELD.findall(row)
    parts = row.split('"')  # {" conversation ": [{" system ": " … ", " input ": " … : every fourth is a key
    return list(zip(parts[3::4], parts[5::4], strict=True))


def may_hold_numbers(block: bytes) -> bool:
    """Whether whole lines could hold a phone or citizen's number."""
    return b"0" * 10 in block.translate(_DIGITS_ALIKE, b" -")


def find_suspect_rows(rows: str, numbers: bool) -> set[int]:
    """The indexes of the canonical rows that need a closer look; `numbers`: whether any could hold a phone number."""
    patterns = (*_SUSPECT, _NUMBER) if numbers else _SUSPECT
    return {index for pattern in patterns for index in find_marked_lines(pattern, rows)}
