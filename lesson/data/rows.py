"""Rows of a JSON Lines file: read in bounded memory, proven canonical in bulk, problems located by line and JSON path.

Every file is taken as hostile: a line is at most LONGEST_LINE bytes, nesting at most DEEPEST levels, and compressed
input is unpacked as a stream, never as a whole.
"""

from __future__ import annotations

import contextlib
import functools
import gzip
import hashlib
import json
import re
import shlex
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
STRING = r'"[^"\\\x00-\x1f]*+(?:\\(?:["\\nrtfb]|u00(?:0[0-7bef]|1[0-9a-f]))[^"\\\x00-\x1f]*+)*+"'
_TURN = rf'"input": {STRING}, "output": {STRING}\}}'
_SYSTEM, _INPUT, _OUTPUT = (f'"{key}": {STRING}' for key in ("system", "input", "output"))
CANONICAL_ROWS = re.compile(
    rf'(?:\{{"conversation": \[\{{(?:"system": {STRING}, )?+{_TURN}(?:, \{{{_TURN})*+\]\}}\n)*+'
)
# The same with the keys of a turn in any order, each once, and a system prompt in any turn. Also proven, and as fast; but
# what compares rows with each other wants the usual order (lesson/data/row_filters.py, usual_order).
_ANY_TURN = (
    rf"\{{(?:{_SYSTEM}, (?:{_INPUT}, {_OUTPUT}|{_OUTPUT}, {_INPUT})"
    rf"|{_INPUT}, (?:{_OUTPUT}(?:, {_SYSTEM})?+|{_SYSTEM}, {_OUTPUT})"
    rf"|{_OUTPUT}, (?:{_INPUT}(?:, {_SYSTEM})?+|{_SYSTEM}, {_INPUT}))\}}"
)
REORDERED_ROWS = re.compile(rf'(?:\{{"conversation": \[{_ANY_TURN}(?:, {_ANY_TURN})*+\]\}}\n)*+')
# What stands outside of the string values of canonical rows, cut at the quotation marks.
STRUCTURE = ("{", "conversation", ": [{", "system", "input", "output", ": ", ", ", "}, {", "}]}\n{")


def source_remedy() -> str:
    """What to do about a source that cannot be used."""
    return tr("set SRC to a JSON Lines file of conversations", "请把 SRC 设为对话数据的 JSON Lines 文件")


def check_remedy(path: str | Path) -> str:
    """The command that says what is wrong with a source, and what to type."""
    command = f"make check-data SRC={shlex.quote(str(path))}"
    return tr(f"run {command}: it says what to do", f"请运行 {command}，它会说明怎么做")


class DigestReader:
    """Reads a binary file and feeds what it read, as it stands in the file, to a hashlib object."""

    def __init__(self, file: BinaryIO, digest: hashlib._Hash) -> None:
        self._file, self._digest = file, digest

    def read(self, size: int = -1) -> bytes:
        """The next bytes of the file."""
        piece = self._file.read(size)
        self._digest.update(piece)
        return piece

    def read_rest(self) -> None:
        """Read what an unpacker left behind the end of the packed data."""
        while self.read(LONGEST_LINE):
            pass


@contextlib.contextmanager
def open_bytes(
    path: str | Path, remedy: str | None = None, digest: hashlib._Hash | None = None
) -> Iterator[BinaryIO | DigestReader]:
    """The bytes of `path`, unpacked when they are gzip's or Zstandard's; `-` is standard input. Raises UserError.

    `digest` is fed all bytes of the file itself, packed or not, when the block ends well.
    """
    if str(path) == "-":
        yield sys.stdin.buffer
        return
    path = readable(path, remedy or source_remedy())
    try:
        with open(path, "rb") as file:
            packing = _find_packing(path, file.peek(4))
            source = file if digest is None else DigestReader(file, digest)
            with _unpacked(path, packing, source) as unpacked:
                yield unpacked
            if isinstance(source, DigestReader):
                source.read_rest()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise _broken_archive(path, error) from None


def _find_packing(path: Path, head: bytes) -> str:
    """How a file is packed, as the ending of its name: by its first bytes, whatever it is called, else by the name."""
    if head.startswith(b"\x1f\x8b\x08"):
        return ".gz"
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        return ".zst"
    return path.suffix if path.suffix in (".gz", ".zst") else ""


def is_packed(path: str | Path) -> bool:
    """Whether open_bytes would unpack this file."""
    with open(path, "rb") as file:
        return bool(_find_packing(Path(path), file.peek(4)))


@contextlib.contextmanager
def _unpacked(path: Path, packing: str, source: BinaryIO | DigestReader) -> Iterator[BinaryIO | DigestReader]:
    if packing == ".gz":
        with gzip.GzipFile(fileobj=source, mode="rb") as file:
            yield file
    elif packing == ".zst":
        import zstandard  # only where needed: imports are most of a small run's time

        try:
            # A window of at most 64 MiB: a hostile frame header must not decide how much memory is taken.
            unpacker = zstandard.ZstdDecompressor(max_window_size=64 << 20)
            with unpacker.stream_reader(source, read_across_frames=True) as file:
                yield file
        except zstandard.ZstdError as error:
            raise _broken_archive(path, error) from None
    else:
        yield source


def _broken_archive(path: Path, error: Exception) -> UserError:
    return UserError(
        path, tr(f"cannot be unpacked: {error}", f"无法解压：{error}"), tr("get the file again", "请重新获取文件")
    )


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


def read_blocks(stream: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
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
    """Whole lines, decoded and held against the patterns of canonical rows once for all who look at them."""

    def __init__(self, data: bytes, written_by_json: bool = False) -> None:
        self.data = data
        self.written_by_json = written_by_json  # each line is what json.dumps makes of some value
        # The same rows as json.dumps writes them, where who parsed them kept that: nobody has to parse them again.
        self.dumped: Block | None = None

    @functools.cached_property
    def text(self) -> str | None:
        """The lines as text; None when they are not UTF-8."""
        try:
            return self.data.decode()
        except UnicodeDecodeError:
            return None

    @functools.cached_property
    def usual(self) -> int:
        """So many characters of the text are canonical rows with their keys in the usual order, from its start."""
        return CANONICAL_ROWS.match(self.text).end()

    @functools.cached_property
    def canonical(self) -> int:
        """So many characters of the text are canonical rows, from its start, whatever the order of their keys."""
        return self.usual if self.usual == len(self.text) else REORDERED_ROWS.match(self.text, self.usual).end()


def find_marked_lines(pattern: re.Pattern[str], text: str) -> Iterator[int]:
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


def read_lines(stream: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
    """(number, line without its end), None for a line over LONGEST_LINE."""
    for number, block in read_blocks(stream):
        if block is None:
            yield number, None
        else:
            yield from enumerate(split_lines(block), number)


def read_rows(path: str | Path) -> Iterator[dict]:
    """The rows of a data file that was validated before, parsed one by one. Raises UserError with the line."""
    with open_bytes(path) as stream:
        for number, line in enumerate(stream, 1):
            try:
                row = json.loads(line)
                row["conversation"][0]["output"]
            except (ValueError, TypeError, KeyError, IndexError, RecursionError):
                what = tr("not a row of conversation", "不是对话数据行")
                raise UserError(f"{path}:{number}", what, check_remedy(path)) from None
            yield row
