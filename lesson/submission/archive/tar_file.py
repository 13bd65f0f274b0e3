"""A tar that was handed in, plain or gzip, read by a bounded parser: tarfile reads extended headers of any size."""

from __future__ import annotations

import gzip
import os
import re
import tempfile
import zlib
from typing import BinaryIO

from lesson.core.messages import tr
from lesson.core.refusals import Unreadable
from lesson.core.text import shorten
from lesson.submission.archive.view import CHUNK, HIGHEST_RATIO, LARGEST, SMALL, View, wrong_name

LARGEST_EXTENSION = 1 << 16  # bytes of a tar's extended header


def unpack_gzip(file: BinaryIO, packed: int, view: View) -> BinaryIO:
    """A gzip stream unpacked into an unnamed temporary file. Raises Unreadable beyond the limits."""
    file.seek(0)
    target = view.keep_open(tempfile.TemporaryFile())  # noqa: SIM115
    done = 0
    try:
        with gzip.GzipFile(fileobj=file, mode="rb") as stream:
            while piece := stream.read(CHUNK):
                done += len(piece)
                if done > LARGEST + CHUNK or (done > SMALL and done > HIGHEST_RATIO * packed):
                    raise Unreadable(
                        tr(
                            f"unpacks to more than {done >> 20} MiB from {packed >> 10} KiB: a bomb",
                            f"由 {packed >> 10} KiB 解压到 {done >> 20} MiB 以上：压缩炸弹",
                        )
                    )
                target.write(piece)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise Unreadable(shorten(str(error))) from None
    return target


class _Slice:
    """The bytes of one member of a tar, read from the open archive."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        self._file, self._at, self._left = file, start, size

    def read(self, size: int = -1) -> bytes:
        self._file.seek(self._at)
        piece = self._file.read(self._left if size < 0 else min(size, self._left))
        self._at += len(piece)
        self._left -= len(piece)
        return piece

    def __enter__(self) -> _Slice:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def read_tar(file: BinaryIO, view: View) -> None:
    """The members of a tar (POSIX ustar, pax, GNU long names). tarfile reads extended headers of any size; this not."""
    size, at, longer = file.seek(0, os.SEEK_END), 0, {}
    while at + 512 <= size:
        file.seek(at)
        header = file.read(512)
        if not header.strip(b"\0"):
            break
        try:
            length = int(header[124:136].strip(b" \0") or b"0", 8)
            checksum = int(header[148:156].strip(b" \0") or b"0", 8)
        except ValueError:
            raise Unreadable(tr("a tar with a broken header", "tar 文件头损坏")) from None
        if checksum != sum(header[:148]) + 256 + sum(header[156:]):
            raise Unreadable(tr("a tar with a broken header", "tar 文件头损坏"))
        kind, start = header[156:157], at + 512
        if kind in b"xgLK" and length > LARGEST_EXTENSION:
            raise Unreadable(tr("a tar header of more than 64 KiB", "tar 扩展头超过 64 KiB"))
        if kind in (b"x", b"g", b"L", b"K"):
            if kind in (b"x", b"L"):
                longer |= _read_extension(kind, file.read(length))
        else:
            length = longer.get("size", length)
            if start + length > size:
                raise Unreadable(tr("a tar that is cut off", "tar 文件不完整"))
            _take_member(file, view, header, kind, start, length, longer.get("path"))
            longer = {}
        at = start + (length + 511) // 512 * 512


def _read_extension(kind: bytes, data: bytes) -> dict:
    if kind == b"L":
        return {"path": data.rstrip(b"\0")}
    found, at = {}, 0
    while at < len(data) and (match := re.match(rb"(\d{1,6}) ([^=]{1,100})=", data[at : at + 120])):
        length = int(match[1])
        if length <= match.end():
            break
        value = data[at + match.end() : at + length - 1]
        if match[2] == b"path":
            found["path"] = value
        elif match[2] == b"size" and value.isdigit() and len(value) < 16:
            found["size"] = int(value)
        at += length
    return found


def _take_member(
    file: BinaryIO, view: View, header: bytes, kind: bytes, start: int, length: int, path: bytes | None
) -> None:
    raw = path
    if raw is None:
        raw = header[:100].rstrip(b"\0")
        prefix = header[345:500].rstrip(b"\0")
        if header[257:263] == b"ustar\0" and prefix:
            raw = prefix + b"/" + raw
    try:
        name = raw.decode()
    except UnicodeDecodeError:
        view.add_problem(
            tr(
                f"{shorten(raw.decode(errors='replace'))}: not UTF-8",
                f"{shorten(raw.decode(errors='replace'))}：文件名不是 UTF-8",
            )
        )
        return
    if kind in (b"0", b"\0", b"7"):
        view.add_file(name, length, lambda: _Slice(file, start, length))
    elif kind in (b"1", b"2"):
        view.add_problem(tr(f"{shorten(name)}: a link", f"{shorten(name)}：链接"))
    elif kind != b"5":
        view.add_problem(tr(f"{shorten(name)}: a device or pipe", f"{shorten(name)}：设备或管道"))
    elif wrong := wrong_name(name.rstrip("/").removeprefix("./") or "."):
        view.add_problem(f"{shorten(name)}: {wrong}")
