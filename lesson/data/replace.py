"""Replace names in the string values of rows: keys, numbers and order stay, output as json.dumps writes it.

The law: for every line that the published script accepts, the output is `json.dumps(replaced, ensure_ascii=False)` of
the recursively replaced object. Lines proven canonical (lesson/data/rows.py) are replaced as text,
which gives the same bytes without parsing; all others are parsed. Limits of our own: a line of at most 1 MiB; blank
lines go.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence

from lesson.core.messages import UserError, tr
from lesson.data.rows import REORDERED_ROWS, STRUCTURE, Block, split_lines

# A match that begins with one of these could begin inside an escape such as \n or 1f.
ESCAPE_LETTERS = frozenset("nrtfbu0123456789abcdef")
# What could stand outside of strings in what json.dumps writes: digits, and parts of true, false, null, NaN, Infinity.
LITERALS = re.compile(r"^(?:[0-9eE]+|t?r?u?e?|f?a?l?s?e?|n?u?l?l?|N?a?N?|I?n?f?i?n?i?t?y?)$")
ENCODE = json.JSONEncoder(ensure_ascii=False).encode


class Replacer:
    """Replaces `pairs` of (old, new) at the same time: never chained, at each place the longest old name that fits.

    `changed` counts the string values in which something was replaced. Raises UserError for pairs that contradict
    each other.
    """

    def __init__(self, pairs: Sequence[tuple[str, str]], counting: bool = True) -> None:
        self.news: dict[str, str] = {}
        for old, new in pairs:
            _check_pair(old, new)
            if self.news.setdefault(old, new) != new:
                raise UserError(
                    f"{old}={new}",
                    tr(f"the same name is also mapped to {self.news[old]}", f"同一个名字还被映射到 {self.news[old]}"),
                    tr("keep one of the two", "请只保留一个"),
                )
        olds = sorted(self.news, key=len, reverse=True)
        self.overlaps = sorted({text for a in olds for b in olds if a != b for text in _overlaps(a, b)})
        self.changed = 0
        self._counting = counting
        self._single = next(iter(self.news.items())) if len(olds) == 1 else None
        self._any = re.compile("|".join(map(re.escape, olds)))
        # The same on canonical text, where new names stand in their escaped form.
        self._escaped = {old: ENCODE(new)[1:-1] for old, new in self.news.items()}
        self._rest = re.compile(rf'(?:{self._any.pattern})(?:[^"\\]++|\\.)*+"')
        self._in_key = re.compile(rf'(?:{self._any.pattern})(?:[^"\\]++|\\.)*+":')
        self._as_text = not self.overlaps and all(
            old.isprintable() and not set('"\\') & set(old) and not any(old in run for run in STRUCTURE) for old in olds
        )
        self._walk = self._walker()
        self._escapes_matter = any(old[0] in ESCAPE_LETTERS for old in olds)
        if self._single:
            self._old_bytes, self._new_bytes = self._single[0].encode(), self._escaped[self._single[0]].encode()

    def replace_text(self, text: str) -> str:
        """One string value, replaced."""
        for overlap in self.overlaps:
            if overlap in text:
                raise ValueError(
                    tr(
                        f"two of the names overlap in {overlap!r}, so there is no one answer",
                        f"两个旧名字在 {overlap!r} 处重叠，无法确定怎样替换",
                    )
                )
        if self._counting and self._any.search(text):
            self.changed += 1
        if self._single:
            return text.replace(*self._single)
        return self._any.sub(lambda match: self.news[match[0]], text)

    def _walker(self) -> Callable[[object], object]:
        """A function that gives back a parsed JSON value with all string values in it replaced.

        It uses one frame a level, so that it goes as deep as json itself; a closure, because lookups on self cost a
        fifth of the time of a file that is not canonical.
        """
        text = self.replace_text
        if self._single and not self._counting:
            old, new = self._single

            def text(string: str) -> str:
                return string.replace(old, new)

        def walk(value: object) -> object:
            kind = type(value)
            if kind is str:
                return text(value)
            if kind is dict:
                for key, item in value.items():
                    value[key] = walk(item)  # no key is added or removed, so that the dict may change under way
                return value
            if kind is list:
                for index, item in enumerate(value):
                    value[index] = walk(item)
                return value
            return value

        return walk

    def replace_line(self, line: str, place: str) -> bytes:
        """One line without its end, replaced, with LF; nothing for a blank one. Raises UserError at `place`."""
        remedy = tr("mend the line; `make check-data` lists all findings", "请修正该行；make check-data 会列出所有问题")
        if not line.strip(" \t\r\n"):
            return b""
        try:
            return (ENCODE(self._walk(json.loads(line))) + "\n").encode()
        except json.JSONDecodeError as error:
            raise UserError(f"{place}:{error.colno}", f"JSON: {error.msg}", remedy) from None
        except UnicodeEncodeError:
            raise UserError(place, tr("half of a surrogate pair (\\ud800)", "半个代理对（\\ud800）"), remedy) from None
        except ValueError as error:  # overlapping names; integers of more than 4300 digits
            raise UserError(place, str(error), remedy) from None
        except RecursionError:
            raise UserError(place, tr("nested too deep", "嵌套太深"), remedy) from None

    def replace_block(self, block: Block, place: str, number: int) -> bytes:
        """Whole lines, replaced; `number` is the number of the first line and `place` the name of the file."""
        data, text, end = block.data, block.text, None
        if text is None:
            raise _not_utf8(data, place, number)
        if b"\r" in data:  # as Python's text mode reads it
            text = text.replace("\r\n", "\n").replace("\r", "\n")
            data, end = text.encode(), REORDERED_ROWS.match(text).end()
        if not self._as_text or (self._escapes_matter and "\\" in text):
            return b"".join(
                self.replace_line(line, f"{place}:{n}") for n, line in enumerate(text[:-1].split("\n"), number)
            )
        if block.written_by_json and self._stands_in_texts_alone(text):
            end = len(text)
        end = block.canonical if end is None else end
        if end == len(text) and self._single:
            if self._counting:
                self._count(text)
            return data.replace(self._old_bytes, self._new_bytes)
        done, start = [], 0
        while start < len(text):
            if end > start:
                rows = text[start:end]
                if self._counting:
                    self._count(rows)
                done.append(self._any.sub(lambda match: self._escaped[match[0]], rows).encode())
                number += rows.count("\n")
            if end < len(text):
                start = text.index("\n", end) + 1
                done.append(self.replace_line(text[end : start - 1], f"{place}:{number}"))
                number += 1
                end = REORDERED_ROWS.match(text, start).end()
            else:
                start = end
        return b"".join(done)

    def _stands_in_texts_alone(self, text: str) -> bool:
        """Whether what json.dumps wrote can be replaced as text: no old name is in a key, or could be no string at all."""
        plain = all(not old.isascii() or (old.isalnum() and not LITERALS.search(old)) for old in self.news)
        return plain and not self._in_key.search(text)

    def _count(self, canonical: str) -> None:
        self.changed += len(self._rest.findall(canonical))


def _not_utf8(block: bytes, place: str, number: int) -> UserError:
    try:
        block.decode()
    except UnicodeDecodeError as error:
        line = number + len(split_lines(block[: error.start] + b"\n")) - 1
        column = error.start - max(block.rfind(b"\n", 0, error.start), block.rfind(b"\r", 0, error.start))
    what = tr(f"not UTF-8 at byte {column}", f"第 {column} 字节不是 UTF-8")
    return UserError(f"{place}:{line}", what, tr("save the file as UTF-8", "请把文件另存为 UTF-8"))


def _check_pair(old: str, new: str) -> None:
    remedy = tr("give two names as OLD=NEW", "请按 旧名=新名 给出")
    if not old:
        raise UserError(f"={new}", tr("the old name is empty", "旧名字为空"), remedy)
    for name in (old, new):
        if any(0xD800 <= ord(c) <= 0xDFFF for c in name):
            raise UserError(ascii(name), tr("not valid text", "不是有效文本"), remedy)


def _overlaps(a: str, b: str) -> Iterator[str]:
    """The shortest texts in which `a` and then `b` occur with common characters, neither inside the other."""
    for k in range(1, min(len(a), len(b))):
        if a.endswith(b[:k]) and b not in a and a not in b:
            yield a + b[k:]


def parse_pair(text: str) -> tuple[str, str]:
    """`old=new`. Raises UserError."""
    old, equals, new = text.partition("=")
    if not equals or not old:
        raise UserError(
            f"--map {text}",
            tr("not of the form OLD=NEW", "不是 旧名=新名 的形式"),
            tr("write --map OLD=NEW", "请写 --map 旧名=新名"),
        )
    return old, new
