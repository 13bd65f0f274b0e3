"""A zip that was handed in: its members, unless they are links, encrypted, bombs or more than a submission has."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import struct
import zipfile
import zlib
from typing import BinaryIO

from lesson.core.messages import tr
from lesson.core.refusals import Unreadable
from lesson.core.text import shorten
from lesson.submission.archive.view import HIGHEST_RATIO, MOST_FILES, SMALL, View, is_unread, wrong_name

LARGEST_DIRECTORY = 4 << 20  # bytes of a zip's central directory


def read_zip(file: BinaryIO, view: View) -> None:
    _require_small_directory(file)
    try:
        archive = view.keep_open(zipfile.ZipFile(file))
    except (zipfile.BadZipFile, ValueError, struct.error, NotImplementedError) as error:
        raise Unreadable(shorten(str(error))) from None
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):  # it seeks where a broken directory leads; all else is the disk's
            raise
        raise Unreadable(shorten(str(error))) from None
    for info in archive.infolist():
        name = _member_name(info, view)
        mode = info.external_attr >> 16
        if name.endswith("/"):
            if wrong := wrong_name(name.rstrip("/")):
                view.add_problem(f"{shorten(name)}: {wrong}")
        elif stat.S_ISLNK(mode):
            view.add_link(name, _link_target(archive, info))
        elif stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            view.add_problem(tr(f"{shorten(name)}: a device or pipe", f"{shorten(name)}：设备或管道"))
        elif info.flag_bits & 0x1:
            view.add_problem(tr(f"{shorten(name)}: encrypted", f"{shorten(name)}：已加密"))
        elif info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            view.add_problem(tr(f"{shorten(name)}: an unusual compression", f"{shorten(name)}：不常见的压缩方式"))
        elif (
            info.file_size > SMALL
            and not is_unread(name)
            and info.file_size > HIGHEST_RATIO * max(info.compress_size, 1)
        ):
            raise Unreadable(
                tr(
                    f"{shorten(name)} unpacks to {info.file_size >> 20} MiB from {info.compress_size >> 10} KiB: a bomb",
                    f"{shorten(name)} 由 {info.compress_size >> 10} KiB 解压到 {info.file_size >> 20} MiB：压缩炸弹",
                )
            )
        else:
            view.add_file(name, info.file_size, lambda info=info: archive.open(info))


def _require_small_directory(file: BinaryIO) -> None:
    """Raise Unreadable when the central directory is larger than any submission's: zipfile would read all of it."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 65557))
    tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < 22:
        raise Unreadable(tr("a zip that is cut off", "zip 文件不完整"))
    entries, length = struct.unpack("<HL", tail[at + 10 : at + 16])
    if tail[max(0, at - 20) : at - 16] == b"PK\x06\x07":  # zip64: a checkpoint of more than 4 GB lies in it
        record = tail[max(0, at - 76) : at - 20]  # where zipfile looks for it
        if len(record) < 56 or record[:4] != b"PK\x06\x06":
            raise Unreadable(tr("a zip that is cut off", "zip 文件不完整"))
        entries, length = struct.unpack("<QQ", record[32:48])
    if entries > MOST_FILES * 2 or length > LARGEST_DIRECTORY:
        raise Unreadable(tr(f"more than {MOST_FILES} files", f"超过 {MOST_FILES} 个文件"))
    file.seek(0)


def _link_target(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> str:
    """Where a link leads; "/" where that cannot be told."""
    if info.file_size > 4096:
        return "/"
    try:
        return archive.read(info).decode("utf-8", "replace")
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError):
        return "/"


def _member_name(info: zipfile.ZipInfo, view: View) -> str:
    """The member's name, with the folders that Windows parts by backslashes; without the UTF-8 flag, its bytes are tried
    as UTF-8 and GB18030, as Windows packs them."""
    return _decoded_name(info, view).replace("\\", "/")


def _decoded_name(info: zipfile.ZipInfo, view: View) -> str:
    name = info.orig_filename
    if info.flag_bits & 0x800 or name.isascii():
        return name
    with contextlib.suppress(UnicodeEncodeError):
        raw = name.encode("cp437")
        for encoding in ("utf-8", "gb18030"):
            with contextlib.suppress(UnicodeDecodeError):
                decoded = raw.decode(encoding)
                view.notes.append(
                    tr(
                        f"{shorten(decoded)}: its name is not marked as UTF-8",
                        f"{shorten(decoded)}：文件名没有标记为 UTF-8",
                    )
                )
                return decoded
    return name
