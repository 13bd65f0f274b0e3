"""Rows of the files that people have: JSON Lines, JSON documents, tables, in other encodings, packed.

Only JSON Lines in UTF-8 are what make data reads. The rest is read here, for recipe.formats and recipe.stats, and named by
make data and make check-data. All but JSON Lines has to be held in memory as a whole, so its size is bounded.
"""

from __future__ import annotations

import bisect
import functools
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePath

from lesson.core.messages import UserError, tr
from lesson.core.strict_json import BROKEN, DEEPEST, JsonProblem, find_paths, parse_strict_json
from lesson.core.text import shorten
from lesson.data.encodings import UTF_8, detect_encoding
from lesson.data.formats import detect_document
from lesson.data.rows import LONGEST_LINE, open_bytes, read_lines
from lesson.data.tables import find_delimiter, read_csv, read_excel

LARGEST_DOCUMENT = 64 << 20  # bytes of what has to be held in memory as a whole
ZIP, OLD_EXCEL = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
_SPACE = re.compile(r"[ \t\r\n\ufeff]*")


@dataclass(frozen=True)
class SourceRow:
    """A row of a source: its value or BROKEN, what is wrong with it as JSON, and where it stands.

    `line` counts from 1. `entry` is its number among the entries of a JSON document, `index` its index when that is one
    array, `text` the entry's own text, which begins at `offset` of the document, whose lines begin at `starts`.
    """

    line: int
    value: object
    problems: list[JsonProblem] = field(default_factory=list)
    entry: int | None = None
    index: int | None = None
    text: str = ""
    offset: int = 0
    starts: list[int] | None = None

    @functools.cached_property
    def _offsets(self) -> dict[str, int]:
        """{JSON path: offset in the row's text}, all at once: a hostile row has many problems."""
        return {} if self.value is BROKEN else find_paths(self.text)

    def find_place(self, path: str, column: int | None = None) -> tuple[int, int | None]:
        """(line, column) in the file of a column of the row's text, else of what stands at a JSON path of the row."""
        if self.starts is None:
            return self.line, column
        inside = column - 1 if column else self._offsets.get(path, 0)
        offset = self.offset + inside
        line = bisect.bisect_right(self.starts, offset)
        return line, offset - self.starts[line - 1] + 1

    def describe(self, path: str, found: str) -> tuple[str, str]:
        """A JSON path of the row as one of the whole document, and what was found, with the number of the entry."""
        if self.entry is None:
            return path, found
        path = path if self.index is None else f"$[{self.index}]{path.removeprefix('$')}"
        return path, tr(f"entry {self.entry}: ", f"第 {self.entry} 条：") + found


def find_other_source(head: bytes, name: str) -> JsonProblem | None:
    """What a file that begins so is, when it is not JSON Lines in UTF-8; all but "not-text" recipe.formats can read."""
    if head.startswith(ZIP):
        excel = b"xl/" in head or name.lower().endswith((".xlsx", ".xlsm"))
        what = tr("an Excel table", "Excel 表格") if excel else tr("a zip archive", "zip 压缩包")
        return JsonProblem("table" if excel else "archive", "", None, what)
    if head.startswith(OLD_EXCEL):
        return JsonProblem("not-text", "", None, tr("an Excel table of the old form (.xls)", "旧版 Excel 表格（.xls）"))
    encoding = detect_encoding(head)
    if encoding is None:
        if b"\0" in head[:2000]:
            return JsonProblem("not-text", "", None, tr("not text", "不是文本"))
        return None
    text = head.decode(encoding, "replace")
    if encoding != UTF_8:
        what = encoding.upper()
        return JsonProblem("other-encoding", "", None, tr(f"{what}, not UTF-8", f"{what} 编码，不是 UTF-8"))
    if kind := detect_document(text):
        array = kind == "array"
        found = tr(
            "one JSON array, not one row a line" if array else "pretty-printed JSON, not one row a line",
            "整个文件是一个 JSON 数组，而不是每行一条" if array else "排版过的 JSON，而不是每行一条",
        )
        return JsonProblem("json-document", "$", 1, found)
    if find_delimiter(text, name):
        return JsonProblem("table", "", None, tr("a table (CSV)", "表格（CSV）"))
    return None


def read_source(path: str) -> Iterator[SourceRow]:
    """Each row of a source. Raises UserError for a file that cannot be read or is none of the kinds known here."""
    with open_bytes(path) as stream:
        head = stream.read(LONGEST_LINE)
        kind = find_other_source(head, path)
        if kind is None:
            yield from _read_json_lines(_Joined(head, stream))
            return
        data = head + stream.read(LARGEST_DOCUMENT + 1 - len(head))
    if len(data) > LARGEST_DOCUMENT:
        remedy = tr("split it, or write JSON Lines in UTF-8", "请拆分，或写成 UTF-8 的 JSON Lines")
        raise UserError(path, tr("more than 64 MiB in one document", "单个文档超过 64 MiB"), remedy)
    yield from read_bytes(data, path, path)


class _Joined:
    """A stream whose beginning has been read."""

    def __init__(self, head: bytes, stream) -> None:
        self._head, self._stream = head, stream

    def read(self, size: int) -> bytes:
        """The next bytes, at most `size`."""
        if self._head:
            piece, self._head = self._head[:size], self._head[size:]
            return piece
        return self._stream.read(size)


def read_bytes(data: bytes, name: str, path: str, within: bool = False) -> Iterator[SourceRow]:
    """The rows of a whole file that is not packed by gzip or Zstandard; `name` is its own, `path` what messages call it,
    `within` says that it comes from an archive. Raises UserError."""
    kind = find_other_source(data[:LONGEST_LINE], name)
    if kind is not None and kind.rule == "not-text":
        remedy = tr("save it as .xlsx, as CSV or as JSON Lines", "请另存为 .xlsx、CSV 或 JSON Lines")
        raise UserError(path, kind.found, remedy)
    if data.startswith(ZIP):
        yield from _read_zip(data, name, path, within)
        return
    encoding = detect_encoding(data[:LONGEST_LINE]) or UTF_8
    if kind is None and encoding == UTF_8:
        yield from _read_json_lines(io.BytesIO(data))
        return
    try:
        text = data.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        what = tr(
            f"not {encoding.upper()} at byte {error.start + 1}", f"第 {error.start + 1} 字节不是 {encoding.upper()}"
        )
        raise UserError(path, what, tr("save the file as UTF-8", "请把文件另存为 UTF-8")) from None
    if detect_document(text[:LONGEST_LINE]):
        yield from read_document(text)
    elif delimiter := find_delimiter(text[:LONGEST_LINE], name):
        for line, row in read_csv(text, delimiter, path):
            yield SourceRow(line, row)
    else:
        yield from _read_json_lines(io.BytesIO(text.encode()))


def _read_zip(data: bytes, name: str, path: str, within: bool) -> Iterator[SourceRow]:
    """The rows of an Excel table, or of the one file in a zip archive."""
    import zipfile  # only where needed: imports are most of a small run's time

    remedy = tr("unpack it and name the file with the rows", "请解压后指定数据文件")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [m for m in archive.infolist() if not m.is_dir() and not _is_hidden(m.filename)]
            excel = any(m.filename == "xl/workbook.xml" for m in members)
            if not excel:
                if len(members) != 1 or within:
                    raise UserError(path, tr(f"{len(members)} files in it", f"里面有 {len(members)} 个文件"), remedy)
                with archive.open(members[0]) as member:
                    inner = member.read(LARGEST_DOCUMENT + 1)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError, ValueError) as error:
        raise UserError(path, tr(f"cannot be unpacked: {error}", f"无法解压：{error}"), remedy) from None
    except Exception as error:  # zlib.error, lzma.LZMAError
        if isinstance(error, UserError):
            raise
        raise UserError(path, tr(f"cannot be unpacked: {error}", f"无法解压：{error}"), remedy) from None
    if excel:
        for line, row in read_excel(data, path):
            yield SourceRow(line, row)
        return
    if len(inner) > LARGEST_DOCUMENT:
        raise UserError(path, tr("unpacks to more than 64 MiB", "解压后超过 64 MiB"), remedy)
    yield from read_bytes(inner, members[0].filename, path, within=True)


def _is_hidden(name: str) -> bool:
    """What macOS and others put beside the files."""
    return any(part.startswith((".", "__MACOSX")) for part in PurePath(name).parts)


def _read_json_lines(stream) -> Iterator[SourceRow]:
    for number, raw in read_lines(stream):
        if raw is None:
            found = tr(f"more than {LONGEST_LINE} bytes", f"超过 {LONGEST_LINE} 字节")
            yield SourceRow(number, BROKEN, [JsonProblem("too-long", "", None, found)])
            continue
        try:
            text = raw.decode()
        except UnicodeDecodeError as error:
            found = tr(f"the byte 0x{raw[error.start]:02x}", f"字节 0x{raw[error.start]:02x}")
            yield SourceRow(number, BROKEN, [JsonProblem("not-utf8", "", error.start + 1, found)])
            continue
        text = text.removeprefix("\ufeff") if number == 1 else text
        if text.strip(" \t\r\n"):
            yield SourceRow(number, *parse_strict_json(text))


def read_document(text: str) -> Iterator[SourceRow]:
    """The entries of a JSON document: the elements of an array, or values one behind the other, of which arrays count
    for their elements. What is behind an entry that is no JSON is not read."""
    starts = [0, *(match.end() for match in re.finditer("\n", text))]
    skip, decode = lambda at: _SPACE.match(text, at).end(), json.JSONDecoder().raw_decode
    at, entry, in_array, arrays = skip(0), 0, False, 0
    single = text.startswith("[", at)

    def broken(offset: int, rule: str, found: str) -> SourceRow:
        return SourceRow(0, BROKEN, [JsonProblem(rule, "", 1, found)], entry + 1, None, "", offset, starts)

    while at < len(text):
        if text[at] == "[" and not in_array:
            in_array, arrays, at = True, arrays + 1, skip(at + 1)
            if text.startswith("]", at):
                in_array, at = False, skip(at + 1)
            continue
        try:
            _, end = decode(text, at)
        except json.JSONDecodeError as error:
            near = text[max(0, error.pos - 10) : error.pos + 20]
            yield broken(error.pos, "bad-json", f"{error.msg}: …{shorten(near)}…")
            return
        except ValueError:
            yield broken(at, "bad-json", tr("an integer of thousands of digits", "数千位的整数"))
            return
        except RecursionError:
            yield broken(at, "too-deep", tr(f"more than {DEEPEST} levels", f"超过 {DEEPEST} 层"))
            return
        entry += 1
        index = entry - 1 if single and arrays == 1 and in_array else None
        line = bisect.bisect_right(starts, at)
        yield SourceRow(line, *parse_strict_json(text[at:end]), entry, index, text[at:end], at, starts)
        at = skip(end)
        if text.startswith(",", at):
            at = skip(at + 1)
        elif in_array and not text.startswith("]", at):
            what = tr("a comma or ] is missing behind the entry", "条目之后缺少逗号或 ]")
            entry -= 1  # it is behind this entry
            yield broken(min(at, len(text)), "bad-json", what)
            return
        if in_array and text.startswith("]", at):
            in_array, at = False, skip(at + 1)
            at = skip(at + 1) if text.startswith(",", at) else at
    if in_array:
        yield broken(len(text) - 1, "bad-json", tr("] is missing at the end", "末尾缺少 ]"))
