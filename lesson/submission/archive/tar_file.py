"""A tar that was handed in, plain or gzip, read by a bounded parser: tarfile reads extended headers of any size."""

from __future__ import annotations

import bisect
import gzip
import os
import re
import tempfile
import zlib
from typing import BinaryIO

from lesson.core.messages import tr
from lesson.core.refusals import Unreadable
from lesson.core.text import shorten
from lesson.submission.archive.view import CHUNK, HIGHEST_RATIO, LARGEST, SMALL, View, is_unread, wrong_name

LARGEST_EXTENSION = 1 << 16  # bytes of a tar's extended header
MOST_UNPACKED = 4 << 30  # bytes that gzip may unpack to, checkpoints that are left out among them: 10 s of computing


class UnpackedTar:
    """A tar as it was before gzip, in an unnamed temporary file that leaves out what is never read (checkpoints)."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._at = file, 0
        self._kept: list[tuple[int, int, int]] = []  # (where in the tar, where in the file, how many bytes), ascending
        self.size = 0

    def append(self, data: bytes) -> None:
        """More of the tar, kept. Only while it is unpacked: the file is written at its end."""
        if self._kept and sum(self._kept[-1][::2]) == self.size:
            at, start, length = self._kept[-1]
            self._kept[-1] = at, start, length + len(data)
        else:
            self._kept.append((self.size, self._file.seek(0, os.SEEK_END), len(data)))
        self._file.write(data)
        self.size += len(data)

    def skip(self, length: int) -> None:
        """More of the tar, left out."""
        self.size += length

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = self.size + offset if whence == os.SEEK_END else offset
        return self._at

    def read(self, size: int) -> bytes:
        """The next bytes, up to the next gap."""
        index = bisect.bisect_right(self._kept, (self._at, 1 << 62, 0)) - 1
        if index < 0:
            return b""
        at, start, length = self._kept[index]
        inside = self._at - at
        self._file.seek(start + inside)
        piece = self._file.read(max(0, min(size, length - inside)))
        self._at += len(piece)
        return piece


def unpack_gzip(file: BinaryIO, packed: int, view: View) -> UnpackedTar:
    """A gzip stream of a tar unpacked, but for what is never read. Raises Unreadable beyond the limits."""
    file.seek(0)
    target = UnpackedTar(view.keep_open(tempfile.TemporaryFile()))  # noqa: SIM115
    kept = 0

    def require_sound(done: int) -> None:
        if kept > LARGEST + CHUNK or done > MOST_UNPACKED or (done > SMALL and done > HIGHEST_RATIO * packed):
            raise Unreadable(
                tr(
                    f"unpacks to more than {done >> 20} MiB from {packed >> 10} KiB: a bomb",
                    f"由 {packed >> 10} KiB 解压到 {done >> 20} MiB 以上：压缩炸弹",
                )
            )

    try:
        with gzip.GzipFile(fileobj=file, mode="rb") as stream:
            left, skipping, longer = 0, False, b""  # of the member that is being read, its padding counted
            while True:
                require_sound(target.size)  # behind headers too: a tar of nothing else is a bomb as well
                if left == 0:
                    header = _read_whole(stream, 512)
                    target.append(header)
                    kept += len(header)
                    if len(header) < 512:
                        break
                    size, kind = _member_size(header), header[156:157]
                    name = longer or header[:100].rstrip(b"\0")
                    longer = b""
                    skipping = kind in b"0\x007" and is_unread(name.decode("utf-8", "replace"))
                    left = -(-size // 512) * 512
                    if kind in (b"x", b"L") and size <= LARGEST_EXTENSION:
                        extension = _read_whole(stream, left)
                        target.append(extension)
                        kept, left = kept + len(extension), 0
                        longer = _read_extension(kind, extension[:size]).get("path", b"")
                    continue
                piece = stream.read(min(left, CHUNK))
                if not piece:
                    break
                left -= len(piece)
                if skipping:
                    target.skip(len(piece))
                else:
                    target.append(piece)
                    kept += len(piece)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise Unreadable(shorten(str(error))) from None
    return target


def _read_whole(stream: BinaryIO, size: int) -> bytes:
    data = b""
    while len(data) < size and (piece := stream.read(size - len(data))):
        data += piece
    return data


def _member_size(header: bytes) -> int:
    """The size in a header; 0 for one that read_tar refuses, and for the end of the tar."""
    try:
        return int(header[124:136].strip(b" \0") or b"0", 8)
    except ValueError:
        return 0


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


def read_tar(file: BinaryIO | UnpackedTar, view: View) -> None:
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
            if kind != b"g":
                longer |= _read_extension(kind, file.read(length))
        else:
            length = longer.get("size", length)
            if start + length > size:
                raise Unreadable(tr("a tar that is cut off", "tar 文件不完整"))
            _take_member(file, view, header, kind, start, length, longer)
            longer = {}
        at = start + (length + 511) // 512 * 512


def _read_extension(kind: bytes, data: bytes) -> dict:
    if kind in (b"L", b"K"):
        return {"path" if kind == b"L" else "linkpath": data.rstrip(b"\0")}
    found, at = {}, 0
    while at < len(data) and (match := re.match(rb"(\d{1,6}) ([^=]{1,100})=", data[at : at + 120])):
        length = int(match[1])
        if length <= match.end():
            break
        value = data[at + match.end() : at + length - 1]
        if match[2] in (b"path", b"linkpath"):
            found[match[2].decode()] = value
        elif match[2] == b"size" and value.isdigit() and len(value) < 16:
            found["size"] = int(value)
        at += length
    return found


def _take_member(file: BinaryIO, view: View, header: bytes, kind: bytes, start: int, length: int, longer: dict) -> None:
    raw = longer.get("path")
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
    elif kind == b"2":
        view.add_link(name, longer.get("linkpath", header[157:257].rstrip(b"\0")).decode("utf-8", "replace"))
    elif kind == b"1":
        view.add_problem(tr(f"{shorten(name)}: a link", f"{shorten(name)}：链接"))
    elif kind != b"5":
        view.add_problem(tr(f"{shorten(name)}: a device or pipe", f"{shorten(name)}：设备或管道"))
    elif wrong := wrong_name(name.rstrip("/").removeprefix("./") or "."):
        view.add_problem(f"{shorten(name)}: {wrong}")
