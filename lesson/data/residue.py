"""What is left of an old name after replacement: forms that plain replacement cannot see.

Looked for: white space or punctuation between the characters, full-width and other compatibility forms (NFKC), other
case, the name's pinyin, and the name itself where replacing made it anew ("aabb" without "ab" is "ab").
"""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lesson.core.findings import Findings
from lesson.core.messages import tr
from lesson.core.strict_json import child_path
from lesson.core.text import shorten
from lesson.data.rows import marked_lines

_BETWEEN = r"[\W_]{0,4}"  # a name further apart than this is no name any more
_MARKS = "[\u0300-\u036f]*"
# Where characters with compatibility forms or case live; Han and Hangul proper have none that matter here.
_FOLDING = ((0x41, 0x3400), (0xA640, 0xABFF), (0xF900, 0x10000), (0x10400, 0x10450), (0x1D400, 0x1D800), (0x1F100, 0x1F300), (0x2F800, 0x2FA20))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Residual:
    """One place: the offset in the text, the text itself, the rule of recipe.findings, and what it is."""

    start: int
    text: str
    rule: str
    what: str


def _fold(char: str) -> str:
    return unicodedata.normalize("NFKD", char).casefold()


def _sequence(letters: str, between: str) -> str:
    """A pattern of the letters with `between` them; a Latin name must stand as a word (Ann is not in cannot)."""
    pattern = between.join(map(re.escape, letters))
    before = "(?<![a-z0-9])" if letters[0].isascii() and letters[0].isalnum() else ""
    after = "(?![a-z0-9])" if letters[-1].isascii() and letters[-1].isalnum() else ""
    return before + pattern + after


def _pinyin(name: str) -> tuple[str, set[str]]:
    """A pattern of the name's pinyin (all readings, tone marks allowed) and its possible first letters.

    Both empty for a name without Han characters.
    """
    if not any("\u3400" <= c <= "\u9fff" for c in name):
        return "", set()
    # Single characters need no phrases: their table is most of the package's start.
    os.environ.setdefault("PYPINYIN_NO_PHRASES", "1")
    os.environ.setdefault("PYPINYIN_NO_DICT_COPY", "1")
    try:
        from pypinyin import Style, pinyin
    except ImportError:  # a small install for validation alone
        return "", set()
    syllables, letters = [], set()
    for readings in pinyin(name, style=Style.NORMAL, heteronym=True):
        spellings = {
            _MARKS.join("[uv]" if c == "v" else re.escape(c) for c in reading.casefold()) for reading in readings
        }
        if not syllables:
            letters = {reading.casefold()[0] for reading in readings}
        syllables.append("(?:" + "|".join(sorted(spellings)) + ")" + _MARKS)
    return "(?<![a-z])" + r"[\W_]{0,3}".join(syllables) + "(?![a-z])", letters


def scan(residues: Sequence[Residue], findings: Findings, file: str, number: int, text: str) -> None:
    """Add a finding for each residual in replaced JSON Lines, values and keys; `number` is that of the first line."""
    for residue in residues:
        marked = list(marked_lines(residue.quick, text))
        rows = text.split("\n") if marked else []
        for index in marked:
            for path, string in _strings(json.loads(rows[index]), "$"):
                for residual in residue.find(string):
                    near = string[max(0, residual.start - 5) : residual.start + len(residual.text) + 5]
                    findings.add(file, number + index, residual.rule, f"{residual.what}: {shorten(near)!r}", path)


def _strings(value: object, path: str) -> Iterator[tuple[str, str]]:
    """(JSON path, text) of every string in a value, keys too."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield child_path(path, key), key
            yield from _strings(item, child_path(path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _strings(item, child_path(path, index))


class Residue:
    """Scans texts for what is left of `old` after replacement; what stands inside one of the `news` is none."""

    def __init__(self, old: str, *news: str) -> None:
        self._old = old
        self._news = re.compile("|".join(map(re.escape, sorted(filter(None, news), key=len, reverse=True))) or "(?!)")
        letters = "".join(map(_fold, old))
        self._form = re.compile(_sequence(letters, _BETWEEN))
        spelled, spelled_first = _pinyin(old)
        self._spelled = re.compile(spelled) if spelled else None
        self.quick = self._filter(letters, spelled_first)

    def _filter(self, letters: str, spelled_first: set[str]) -> re.Pattern[str]:
        """A pattern on unfolded text that misses nothing that `find` would find: most text is dismissed by it."""
        single: dict[str, set[str]] = {c: {c} for c in set(letters)}
        several = set()
        plain = [c for char in self._old for c in (char, char.upper(), char.lower())]
        for char in [*plain, *(chr(i) for low, high in _FOLDING for i in range(low, high))]:
            folded = _fold(char)
            if len(folded) == 1:
                if folded in single:
                    single[folded].add(char)
            elif not single.keys().isdisjoint(folded):
                several.add(char)
        if any("\uac00" <= c <= "\ud7a3" for c in self._old):
            several |= {chr(i) for i in range(0xAC00, 0xD7A4)}  # each folds to its parts

        def any_of(chars: set[str]) -> str:
            return "[" + "".join(map(re.escape, sorted(chars))) + "]"

        # One set of characters in front of all alternatives: the regex engine then skips over everything else.
        first = single[letters[0]]
        parts = [f"(?<={any_of(first)})" + "".join(_BETWEEN + any_of(single[c]) for c in letters[1:])]
        if several:
            parts.append(f"(?<={any_of(several)})")
        starts = set()
        for letter in spelled_first:
            # Latin letters, with their marks too: up to Latin Extended-B, and Latin Extended Additional.
            starts |= {c for i in (*range(0x41, 0x250), *range(0x1E00, 0x1F00)) if _fold(c := chr(i))[0] == letter}
            starts |= {letter, letter.upper(), chr(ord(letter) + 0xFEE0), chr(ord(letter.upper()) + 0xFEE0)}
        if starts:
            parts.append(f"(?<={any_of(starts)})(?={_MARKS}" + r"[^\W\d_\u3400-\u9fff])")
        return re.compile(any_of(first | several | starts) + "(?:" + "|".join(parts) + ")")

    def suspicious(self, text: str) -> bool:
        """False only where `find` finds nothing in `text` or in any string of it: a fast filter for whole blocks."""
        return self.quick.search(text) is not None

    def find(self, text: str) -> list[Residual]:
        """All residuals in one string value or key, left to right."""
        if not self.quick.search(text):
            return []
        folded, origin = [], []
        for index, char in enumerate(text):
            for part in _fold(char):
                folded.append(part)
                origin.append(index)
        flat = "".join(folded)
        new_at = [match.span() for match in self._news.finditer(text)]
        found = []
        for pattern in filter(None, (self._form, self._spelled)):
            for match in pattern.finditer(flat):
                if match.start() == match.end():
                    continue
                start, end = origin[match.start()], origin[match.end() - 1] + 1
                if not any(low <= start and end <= high for low, high in new_at):
                    found.append(self._judge(start, text[start:end], pattern is self._spelled))
        return sorted(found, key=lambda residual: residual.start)

    def _judge(self, start: int, text: str, spelled: bool) -> Residual:
        if spelled:
            return Residual(start, text, "residue-form", tr("the old name's pinyin", "旧名字的拼音"))
        if text == self._old:
            return Residual(start, text, "residue", tr("the old name", "旧名字"))
        bare = "".join(
            c
            for c in unicodedata.normalize("NFKC", text)
            if not c.isspace() and unicodedata.category(c) not in ("Cf", "Mn", "Cc")
        )
        if bare == unicodedata.normalize("NFKC", self._old):
            return Residual(start, text, "residue", tr("the old name in another form", "旧名字的另一种写法"))
        return Residual(start, text, "residue-form", tr("perhaps the old name", "可能是旧名字"))
