"""Rows of a JSON Lines file: read in bounded memory, proven canonical in bulk, problems located by line and JSON path.

Every file is taken as hostile: a line is at most LONGEST_LINE bytes, nesting at most DEEPEST levels, and compressed
input is unpacked as a stream, never as a whole.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import gzip
import json
import re
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from lesson.core.files import atomic, readable
from lesson.core.messages import UserError, tr

LONGEST_LINE = 1 << 20  # bytes; also the size of one read, so that memory stays the same for any file

# A row exactly as json.dumps(row, ensure_ascii=False) writes it: every key in its usual place, every escape in the one
# form that json.dumps uses. Text that matches (decoded strictly from UTF-8) needs no parsing: loading and dumping it
# would give it back. This is what makes the fast paths of recipe.replace and recipe.validate provably equal to slow ones.
_STRING = r'"[^"\\\x00-\x1f]*+(?:\\(?:["\\nrtfb]|u00(?:0[0-7bef]|1[0-9a-f]))[^"\\\x00-\x1f]*+)*+"'
_TURN = rf'"input": {_STRING}, "output": {_STRING}\}}'
CANONICAL_ROWS = re.compile(
    rf'(?:\{{"conversation": \[\{{(?:"system": {_STRING}, )?+{_TURN}(?:, \{{{_TURN})*+\]\}}\n)*+'
)
# What stands outside of the string values of canonical rows, cut at the quotation marks.
STRUCTURE = ("{", "conversation", ": [{", "system", "input", "output", ": ", ", ", "}, {", "}]}\n{")


def source_remedy() -> str:
    return tr("set SRC to a JSON Lines file of conversations", "请把 SRC 设为对话数据的 JSON Lines 文件")


@contextlib.contextmanager
def open_bytes(path: str | Path, remedy: str | None = None) -> Iterator[BinaryIO]:
    """The bytes of `path`, unpacked when it ends in .gz or .zst; `-` is standard input. Raises UserError."""
    if str(path) == "-":
        yield sys.stdin.buffer
        return
    path = readable(path, remedy or source_remedy())
    try:
        if path.suffix == ".gz":
            with gzip.open(path, "rb") as file:
                yield file
        elif path.suffix == ".zst":
            import zstandard  # only where needed: imports are most of a small run's time

            with open(path, "rb") as packed, _zstd_reader(zstandard, packed) as file:
                yield file
        else:
            with open(path, "rb") as file:
                yield file
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise _broken_archive(path, error) from None


def _broken_archive(path: Path, error: Exception) -> UserError:
    return UserError(
        path, tr(f"cannot be unpacked: {error}", f"无法解压：{error}"), tr("get the file again", "请重新获取文件")
    )


@contextlib.contextmanager
def _zstd_reader(zstandard, packed: BinaryIO) -> Iterator[BinaryIO]:
    try:
        # A window of at most 64 MiB: a hostile frame header must not decide how much memory is taken.
        with zstandard.ZstdDecompressor(max_window_size=64 << 20).stream_reader(
            packed, read_across_frames=True
        ) as file:
            yield file
    except zstandard.ZstdError as error:
        raise _broken_archive(Path(packed.name), error) from None


@contextlib.contextmanager
def open_output(path: str) -> Iterator[BinaryIO]:
    """Where bytes go: standard output for `-`, else a file that appears whole, packed when it ends in .gz or .zst."""
    if path == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    if Path(path).is_dir():
        raise UserError(
            path, tr("a folder, where a file is needed", "这是目录，需要文件"), tr("name a file", "请给出文件名")
        )
    with atomic(path, "wb") as file:
        if path.endswith(".gz"):
            with gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:  # no time in it: same input, same bytes
                yield packed
        elif path.endswith(".zst"):
            import zstandard

            with zstandard.ZstdCompressor().stream_writer(file, closefd=False) as packed:
                yield packed
        else:
            yield file


def blocks(stream: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
    """(number of the first line, whole lines ending in LF) up to the end; (number, None) for a line over LONGEST_LINE.

    The last line gets its LF when the file has none. CR and CR LF end a line too, see `split_lines`.
    """
    number, carry, skipping = 1, b"", False
    while piece := stream.read(LONGEST_LINE):
        if skipping:
            cut = piece.find(b"\n")
            if cut < 0:
                continue
            piece, skipping = piece[cut + 1 :], False
            number += 1
        first = piece.find(b"\n")
        if len(carry) + (len(piece) if first < 0 else first) > LONGEST_LINE:
            yield number, None
            carry = b""
            if first < 0:
                skipping = True
                continue
            piece = piece[first + 1 :]
            number += 1
        cut = piece.rfind(b"\n") + 1
        if cut:
            block = carry + piece[:cut]
            yield number, block
            number += len(split_lines(block)) if b"\r" in block else block.count(b"\n")
            carry = piece[cut:]
        else:
            carry += piece
    if carry:
        yield number, carry + b"\n"


class Block:
    """Whole lines, decoded and held against CANONICAL_ROWS once for all who look at them."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    @functools.cached_property
    def text(self) -> str | None:
        """The lines as text; None when they are not UTF-8."""
        try:
            return self.data.decode()
        except UnicodeDecodeError:
            return None

    @functools.cached_property
    def canonical(self) -> int:
        """So many characters of the text are canonical rows, from its start."""
        return CANONICAL_ROWS.match(self.text).end()


def marked_lines(pattern: re.Pattern[str], text: str) -> Iterator[int]:
    """The indexes of the lines of `text` in which a match of `pattern` begins, ascending."""
    index = start = 0
    last = -1
    for match in pattern.finditer(text):
        index += text.count("\n", start, match.start())
        start = match.start()
        if index != last:
            yield index
            last = index


def split_lines(block: bytes) -> list[bytes]:
    """The lines of a block without their ends. CR and CR LF end a line too, as in Python's text mode."""
    if b"\r" in block:
        block = block.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return block[:-1].split(b"\n")


def lines(stream: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
    """(number, line without its end), None for a line over LONGEST_LINE."""
    for number, block in blocks(stream):
        if block is None:
            yield number, None
        else:
            yield from enumerate(split_lines(block), number)


def persona(path: str | Path) -> str:
    """The system prompt that most rows of a data file begin with. Raises UserError when no row has one."""
    remedy = tr("run `make data` again", "请重新运行 make data")
    counted: collections.Counter[str] = collections.Counter()
    with open_bytes(path, remedy) as stream:
        for number, line in lines(stream):
            try:
                system = json.loads(line or b"")["conversation"][0].get("system")
            except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
                raise UserError(f"{path}:{number}", tr("not a conversation", "不是对话数据"), remedy) from None
            if isinstance(system, str) and system.strip():
                counted[system] += 1
    if not counted:
        raise UserError(path, tr("no row has a system prompt", "没有一行带 system 提示"), remedy)
    return counted.most_common(1)[0][0]


def read(path: str | Path) -> Iterator[dict]:
    """The rows of a data file that was validated before, parsed one by one. Raises UserError with the line."""
    with open_bytes(path) as stream:
        for number, line in enumerate(stream, 1):
            try:
                row = json.loads(line)
                row["conversation"][0]["output"]
            except (ValueError, TypeError, KeyError, IndexError, RecursionError):
                what = tr("not a row of conversation", "不是对话数据行")
                raise UserError(f"{path}:{number}", what, source_remedy()) from None
            yield row
