"""What is left of an old name after replacement: forms that plain replacement cannot see.

Looked for: white space, line breaks or punctuation between the characters, other separators than the name's own,
full-width and other compatibility forms (NFKC), traditional and simplified characters, other case, the name's pinyin, and
the name itself where replacing made it anew ("aabb" without "ab" is "ab").
"""

from __future__ import annotations

import functools
import itertools
import json
import operator
import os
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from lesson.core.findings import Findings
from lesson.core.messages import tr
from lesson.core.strict_json import child_path
from lesson.core.text import shorten
from lesson.data.letters import english_words, other_forms
from lesson.data.rows import find_marked_lines

_BETWEEN = r"[\W_]{0,4}"  # a name further apart than this is no name any more
_MARKS = "[\u0300-\u036f]*"
# Where characters with compatibility forms or case live; Hangul syllables, which all fold to their parts, are left out.
_FOLDING = ((0x41, 0x3400), (0xA640, 0xAC00), (0xF900, 0x10D60), (0x11080, 0x11940), (0x16E40, 0x16E60), (0x1D100, 0x1D800), (0x1E000, 0x1F300), (0x1FBF0, 0x1FBFA), (0x2F800, 0x2FA20))  # fmt: skip
# What counts as between two letters before folding: white space, punctuation, and the few letters that fold to marks; in
# JSON text also the escapes of line breaks, tabs and other controls.
_RAW_BETWEEN = r"(?:\\[nrtbf]|\\u00[01][0-9a-f]|[\W_\ufc5e-\ufc63\ufe70-\ufe7e\uff9e\uff9f]){0,4}"
# A Chinese name that is torn apart, 小 明, may be the ends of two words: 我还小 明月…. Behind NAMING it is the name. Behind
# BEFORE_NAME, or at the start of a text or sentence, it is the name where the sentence can go on as it does behind a name.
SAYS_NAME = ("我是", "我叫", "名字是", "名叫", "叫做", "叫")  # behind these an English word is the pinyin after all
NAMING = "是叫名称唤"
BEFORE_NAME = "我你您他她为和与跟找问让给对向由从请的"
SENTENCE_MARKS = "，。！？；：…,!?;:\n"
AFTER_NAME = "是的会说在也和与呢吗吧啊同先你您我很，。！？、；：）”」』》"
FEWEST_LETTERS = 3  # of a Latin name whose own separators may be missing: "A B" would be in any text


@dataclass(frozen=True, slots=True)
class Residual:
    """One place: the offset in the text, the text itself, the rule (lesson/data/rules.json), and what it is."""

    start: int
    text: str
    rule: str
    what: str


def _fold(text: str) -> str:
    return unicodedata.normalize("NFKD", text).casefold()


@functools.cache
def _foldings() -> tuple[tuple[str, str], ...]:
    """(character, what it folds to) of all that another character or several stand for."""
    # All at once and without a loop: this is a part of every run of make data.
    chars = list(map(chr, itertools.chain.from_iterable(itertools.starmap(range, _FOLDING))))
    folded = _fold("\n".join(chars)).split("\n")
    return tuple(itertools.compress(zip(chars, folded, strict=True), map(operator.ne, chars, folded)))


def _without_separators(letters: str) -> str:
    """Folded letters of a name without what separates them: white space, points, marks. The ends stay as they are."""
    words = [index for index, c in enumerate(letters) if c.isalnum()]
    if not words or (letters.isascii() and len(words) < FEWEST_LETTERS):
        return letters
    inner = "".join(letters[index] for index in words)
    return letters[: words[0]] + inner + letters[words[-1] + 1 :]


def _sequence(letters: str, between: str) -> str:
    """A pattern of the letters with `between` them; a Latin name must stand as a word (Ann is not in cannot)."""
    pattern = between.join(map(re.escape, letters))
    before = "(?<![a-z0-9])" if letters[0].isascii() and letters[0].isalnum() else ""
    after = "(?![a-z0-9])" if letters[-1].isascii() and letters[-1].isalnum() else ""
    return before + pattern + after


def _pinyin(name: str) -> list[list[str]]:
    """For each character of the name all spellings in folded pinyin; empty for a name without Han characters.

    A name whose whole pinyin is one letter (阿, 鹅) has none: a letter alone names nobody.
    """
    if not any("\u3400" <= c <= "\u9fff" for c in name):
        return []
    # Single characters need no phrases: their table is most of the package's start.
    os.environ.setdefault("PYPINYIN_NO_PHRASES", "1")
    os.environ.setdefault("PYPINYIN_NO_DICT_COPY", "1")
    try:
        from pypinyin import Style, pinyin
    except ImportError:  # a small install for validation alone
        return []
    syllables = [
        sorted({reading.casefold() for reading in readings})
        for readings in pinyin(name, style=Style.NORMAL, heteronym=True)
    ]
    if len(syllables) == 1:
        syllables = [[spelling for spelling in syllables[0] if len(spelling) > 1]]
    return syllables if all(syllables) else []


def _pinyin_pattern(syllables: list[list[str]]) -> str:
    """A pattern on folded text: the syllables with tone marks and a little between them, as a word of its own."""

    def spelled(syllable: str) -> str:
        return _MARKS.join("[uv]" if c == "v" else re.escape(c) for c in syllable)

    parts = ["(?:" + "|".join(map(spelled, syllable)) + ")" + _MARKS for syllable in syllables]
    return "(?<![a-z])" + r"[\W_]{0,3}".join(parts) + "(?![a-z])"


def _any_of(chars: set[str]) -> str:
    """A pattern of one character out of `chars`."""
    return "[" + "".join(map(re.escape, sorted(chars))) + "]"


def _skipping_to(chars: set[str]) -> str:
    """A pattern of one character out of `chars`, and some above U+FFFF: those become one range.

    For all others the regex engine has a table, but each range or character above U+FFFF it tries in turn.
    """
    high = {c for c in chars if c > "\uffff"}
    return _any_of(chars - high)[:-1] + (f"{min(high)}-{max(high)}]" if high else "]")


def scan_rows(
    residues: Sequence[ResidueFinder],
    findings: Findings,
    file: str,
    number: int,
    text: str,
    accepts: Callable[[int, str, str], bool] = lambda line, path, near: False,
) -> None:
    """Add a finding for each residual in replaced JSON Lines, values and keys; `number` is that of the first line.

    What `accepts` says yes to (line, JSON path, the text around it) is none.
    """
    for residue in residues:
        marked = list(find_marked_lines(residue.quick, text))
        rows = text.split("\n") if marked else []
        for index in marked:
            for path, string in _strings(json.loads(rows[index]), "$"):
                for residual in residue.find(string):
                    near = string[max(0, residual.start - 5) : residual.start + len(residual.text) + 5]
                    near = repr(shorten(near))
                    if not accepts(number + index, path, near):
                        findings.add_finding(file, number + index, residual.rule, f"{residual.what}: {near}", path)


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


def _pinyin_starts(syllables: list[list[str]]) -> tuple[set[str], str, set[str]]:
    """Where the pinyin may begin in unfolded text: the characters that fold to its first letter (tone marks apart),
    a lookahead for what must follow them, and the characters that fold to that letter and others at once.
    """
    letters = {spelling[0] for spelling in syllables[0]}
    seconds = {spelling[1] for spelling in syllables[0] if len(spelling) > 1}
    between = _MARKS
    if any(len(spelling) == 1 for spelling in syllables[0]):  # then the next syllable follows, perhaps after a space
        seconds |= {spelling[0] for spelling in syllables[1]}
        between += _RAW_BETWEEN
    if "v" in seconds:
        seconds.add("u")
    starts, follow, together = set(letters), set(seconds), set()
    for char, folded in _foldings():
        if not seconds.isdisjoint(folded):
            follow.add(char)
        if letters.isdisjoint(folded):
            continue
        bare = "".join(c for c in folded if not "\u0300" <= c <= "\u036f")
        (starts if bare in letters else together).add(char)
    return starts, f"(?={between}{_any_of(follow)})", together


class ResidueFinder:
    """Scans texts for what is left of `old` after replacement; what stands inside one of the `news` is none."""

    def __init__(self, old: str, *news: str) -> None:
        self._old = old
        self._news = re.compile("|".join(map(re.escape, sorted(filter(None, news), key=len, reverse=True))) or "(?!)")
        letters = _without_separators("".join(map(_fold, old)))
        self._variants = {form: c for c in set(letters) if _is_han(c) for form in other_forms(c) if form not in letters}
        self._letters, self._own_gaps = self._split(old)
        self._form = re.compile(_sequence(letters, _BETWEEN))
        syllables = _pinyin(old)
        self._spelled = re.compile(_pinyin_pattern(syllables)) if syllables else None
        self.quick = self._filter(letters, syllables)

    def _filter(self, letters: str, syllables: list[list[str]]) -> re.Pattern[str]:
        """A pattern on unfolded text that misses nothing that `find` would find: most text is dismissed by it."""
        single: dict[str, set[str]] = {c: {c} for c in set(letters)}
        several = set()  # characters that fold to more than one, a letter of the name among them
        plain = [(c, _fold(c)) for char in self._old for c in (char, char.upper(), char.lower())]
        plain += [(form, form) for form in self._variants]
        for char, folded in itertools.chain(plain, _foldings()):
            folded = self._variants.get(folded, folded)
            if len(folded) == 1:
                if folded in single:
                    single[folded].add(char)
            elif not single.keys().isdisjoint(folded):
                several.add(char)
        if any("\uac00" <= c <= "\ud7a3" for c in self._old):
            several |= {chr(i) for i in range(0xAC00, 0xD7A4)}  # each folds to its parts
        first = single[letters[0]]
        parts = [f"(?<={_any_of(first)})" + "".join(_RAW_BETWEEN + _any_of(single[c]) for c in letters[1:])]
        starts = set()
        if syllables:
            starts, followed, together = _pinyin_starts(syllables)
            several |= together
            parts.append(f"(?<={_any_of(starts)}){followed}")
        if several:
            parts.append(f"(?<={_any_of(several)})")
        # One set of characters in front of all alternatives: the regex engine then skips over everything else.
        return re.compile(_skipping_to(first | several | starts) + "(?:" + "|".join(parts) + ")")

    def find(self, text: str) -> list[Residual]:
        """All residuals in one string value or key, left to right."""
        if not self.quick.search(text):
            return []
        folded, origin = [], []
        for index, char in enumerate(text):
            for part in _fold(char):
                folded.append(self._variants.get(part, part))
                origin.append(index)
        flat = "".join(folded)
        new_at = [match.span() for match in self._news.finditer(text)]
        found = []
        for pattern in filter(None, (self._form, self._spelled)):
            for match in pattern.finditer(flat):
                if match.start() == match.end():
                    continue
                start, end = origin[match.start()], origin[match.end() - 1] + 1
                inside_new = any(low <= start and end <= high for low, high in new_at)
                if not inside_new and (residual := self._judge(text, start, end, pattern is self._spelled)):
                    found.append(residual)
        return sorted(found, key=lambda residual: residual.start)

    def _judge(self, text: str, start: int, end: int, spelled: bool) -> Residual | None:
        """What a match in `text` is; None for an English word or the ends of two sentences."""
        form = text[start:end]
        if spelled:
            plain = form.islower() or form.isupper() or form.istitle()
            if plain and form.lower() in english_words() and not text[:start].rstrip().endswith(SAYS_NAME):
                return None
            return Residual(start, form, "residue-form", tr("the old name's pinyin", "旧名字的拼音"))
        if form == self._old:
            return Residual(start, form, "residue", tr("the old name", "旧名字"))
        perhaps = Residual(start, form, "residue-form", tr("perhaps the old name", "可能是旧名字"))
        letters, gaps = self._split(form)
        gap = "".join(between for index, between in gaps.items() if index not in self._own_gaps)
        if gap and _is_han(letters[0]) and not _stands_as_name(text, start, end):
            return None if any(c in SENTENCE_MARKS for c in gap) else perhaps
        if letters == self._letters and all(c.isspace() or unicodedata.category(c) in ("Cf", "Mn", "Cc") for c in gap):
            return Residual(start, form, "residue", tr("the old name in another form", "旧名字的另一种写法"))
        return perhaps

    def _split(self, form: str) -> tuple[str, dict[int, str]]:
        """(the letters of a form of the name, {how many letters stand before: what is between them}).

        Traditional and simplified characters are alike, and so are the forms of NFKC.
        """
        letters, gaps = "", {}
        for char in unicodedata.normalize("NFKC", form):
            if char.isalnum():
                letters += self._variants.get(char, char)
            else:
                gaps[len(letters)] = gaps.get(len(letters), "") + char
        return (letters, gaps) if letters else (form, {})


def _is_han(char: str) -> bool:
    return "\u3400" <= char <= "\u9fff" or "\U00020000" <= char <= "\U0003ffff"


def _stands_as_name(text: str, start: int, end: int) -> bool:
    """Whether a Chinese name that is torn apart stands where a name does, see NAMING."""
    before, after = text[start - 1 : start], text[end : end + 1]
    if before in NAMING or not before:
        return bool(before) or not _is_han(after or " ") or after in AFTER_NAME
    return (before in BEFORE_NAME or not _is_han(before)) and (after in AFTER_NAME or not _is_han(after or " "))
