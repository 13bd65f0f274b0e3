"""Forms of letters that Unicode does not fold: traditional and simplified characters; and English words that look like pinyin."""

from __future__ import annotations

import functools
import json
from pathlib import Path

TABLE_FILE = Path(__file__).with_name("letters.json")  # it names its sources


@functools.cache
def _table() -> dict:
    return json.loads(TABLE_FILE.read_text(encoding="utf-8"))


@functools.cache
def _simplified() -> dict[str, tuple[str, ...]]:
    """{traditional character: its simplified ones}."""
    pairs, found = _table()["traditional"], {}
    for traditional, simplified in zip(pairs[::2], pairs[1::2], strict=True):
        found[traditional] = (*found.get(traditional, ()), simplified)
    return found


def other_forms(char: str) -> set[str]:
    """The characters that are the same as `char` in traditional or simplified writing, itself left out."""
    simplified = {char, *_simplified().get(char, ())}
    same = {one for one, others in _simplified().items() if not simplified.isdisjoint(others)}
    return (simplified | same) - {char}


@functools.cache
def english_words() -> frozenset[str]:
    """Common English words that can be read as pinyin: make is 马克, like is 李可."""
    return frozenset(_table()["english"].split())
