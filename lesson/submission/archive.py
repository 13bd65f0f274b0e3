"""A folder, zip or tar that a stranger handed in, as a read-only view: nothing is extracted, followed or trusted.

Every way of reading is bounded: number of files, size of each and of all, how far a member may unpack, depth of folders.
What breaks a rule becomes a problem of the view (`problems`); what cannot be opened at all raises Unreadable.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import re
import stat
import struct
import tempfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from lesson.core.messages import tr
from lesson.core.refusals import Unreadable
from lesson.core.text import shorten

LARGEST = 1 << 30  # bytes in all, unpacked: the limit of a submission
MOST_FILES = 2000
LONGEST_NAME = 255  # characters of a path
DEEPEST_FOLDER = 12
HIGHEST_RATIO = 300  # unpacked to packed; text logs reach 30
SMALL = 10 << 20  # bytes: a member of this size may have any ratio
LARGEST_DIRECTORY = 4 << 20  # bytes of a zip's central directory
LARGEST_EXTENSION = 1 << 16  # bytes of a tar's extended header
CHUNK = 1 << 20
LITTER = re.compile(r"(^|/)(__MACOSX/|\.DS_Store$|Thumbs\.db$|desktop\.ini$|\._)")
# Formats that run code when they are loaded: reported, never opened.
PICKLES = (".pth", ".pt", ".bin", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".npz")


@dataclass(frozen=True)
class Entry:
    """One regular file: its path inside the submission, its size, and how to open it."""

    name: str
    size: int
    opener: Callable[[], BinaryIO]


class View:
    """The regular files of a submission by path, and what is wrong with how they are packed."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.problems: list[str] = []
        self.notes: list[str] = []
        self.total = 0
        self._folded: dict[str, str] = {}
        self._closing = contextlib.ExitStack()

    def __enter__(self) -> View:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def problem(self, text: str) -> None:
        if len(self.problems) < 50:
            self.problems.append(text)

    def add(self, name: str, size: int, opener: Callable[[], BinaryIO]) -> None:
        """Take one file into the view, or say why not. Raises Unreadable beyond the limits of the whole."""
        if LITTER.search(name):
            return
        shown = shorten(name)
        if wrong := wrong_name(name):
            self.problem(f"{shown}: {wrong}")
            return
        name = name.removeprefix("./")
        if name in self.entries:
            self.problem(tr(f"{shown}: twice", f"{shown}：出现两次"))
            return
        folded = unicodedata.normalize("NFKC", name).casefold()
        if folded in self._folded:
            other = shorten(self._folded[folded])
            self.problem(
                tr(
                    f"{shown} and {other} differ only in case: on other systems they are one file",
                    f"{shown} 与 {other} 只有大小写不同，在其他系统上会冲突",
                )
            )
        self._folded[folded] = name
        self.total += size
        self.entries[name] = Entry(name, size, opener)
        if len(self.entries) > MOST_FILES:
            raise Unreadable(tr(f"more than {MOST_FILES} files", f"超过 {MOST_FILES} 个文件"))
        if self.total > LARGEST:
            raise Unreadable(
                tr(
                    f"more than {LARGEST >> 20} MiB in all, unpacked (at {shown})",
                    f"解压后总大小超过 {LARGEST >> 20} MiB（{shown}）",
                )
            )

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """The bytes of a file as a stream. Raises Unreadable when they are damaged."""
        try:
            with self.entries[name].opener() as file:
                yield file
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
            raise Unreadable(f"{shorten(name)}: {shorten(str(error))}") from None

    def read(self, name: str, most: int) -> bytes:
        """The whole file. Raises Unreadable when it has more than `most` bytes."""
        if self.entries[name].size > most:
            what = tr(f"more than {most >> 10} KiB", f"超过 {most >> 10} KiB")
            raise Unreadable(f"{shorten(name)}: {what}")
        with self.open(name) as file:
            return file.read(most + 1)

    def head(self, name: str, size: int = 4096) -> bytes:
        with self.open(name) as file:
            return file.read(size)

    def sha256(self, name: str) -> str:
        digest = hashlib.sha256()
        with self.open(name) as file:
            while piece := file.read(CHUNK):
                digest.update(piece)
        return digest.hexdigest()

    def below(self, folder: str) -> View:
        """The view with `folder` as its top, when everything lies in it."""
        prefix = folder + "/"
        self.entries = {
            name.removeprefix(prefix): Entry(name.removeprefix(prefix), entry.size, entry.opener)
            for name, entry in self.entries.items()
        }
        return self


def wrong_name(name: str) -> str | None:
    """What is wrong with a path inside a submission; None when nothing is."""
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name):
        return tr("an absolute path", "绝对路径")
    if ".." in parts:
        return tr("leaves the folder by ..", "用 .. 跳出了目录")
    if "\\" in name or any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in name):
        return tr("a path with a character that has no place there", "路径里有不该出现的字符")
    if len(name) > LONGEST_NAME or len(parts) > DEEPEST_FOLDER or not name:
        return tr("too long or too deep a path", "路径过长或过深")
    return None


def open_view(path: str | Path) -> View:
    """The view of a folder, a zip or a tar (plain or gzip), told by content. Raises Unreadable, OSError."""
    path, view = Path(path), View()
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        _folder(path, view)
    elif not stat.S_ISREG(mode):
        raise Unreadable(tr("neither a folder nor a file", "既不是目录也不是文件"))
    else:
        if path.stat().st_size > LARGEST:
            raise Unreadable(tr(f"more than {LARGEST >> 20} MiB", f"超过 {LARGEST >> 20} MiB"))
        file = view._closing.enter_context(open(path, "rb"))  # noqa: SIM115
        start = file.read(512)
        if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            _zip(file, view)
        elif start.startswith(b"\x1f\x8b"):
            _tar(_unpacked(file, path.stat().st_size, view), view)
        elif start[257:262] == b"ustar":
            _tar(file, view)
        else:
            raise Unreadable(
                tr("not a folder, a zip or a tar (.tar, .tar.gz)", "不是目录、zip 或 tar（.tar、.tar.gz）")
            )
    tops = {name.split("/")[0] for name in view.entries}
    while len(tops) == 1 and all("/" in name for name in view.entries):
        view = view.below(tops.pop())
        tops = {name.split("/")[0] for name in view.entries}
    return view


# --- folders -----------------------------------------------------------------------------------------------------------


def _folder(top: Path, view: View) -> None:
    real = os.path.realpath(top)
    seen = 0
    for folder, folders, files in os.walk(top):
        for name in sorted(folders + files):
            seen += 1
            if seen > 2 * MOST_FILES:
                raise Unreadable(tr(f"more than {MOST_FILES} files", f"超过 {MOST_FILES} 个文件"))
            path = os.path.join(folder, name)
            relative = os.path.relpath(path, top).replace(os.sep, "/")
            mode = os.lstat(path)
            relative_shown = relative.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
            if stat.S_ISLNK(mode.st_mode):
                target = os.path.realpath(path)
                if target == real or target.startswith(real + os.sep):
                    view.notes.append(
                        tr(
                            f"{shorten(relative_shown)}: a link, not followed",
                            f"{shorten(relative_shown)}：链接，未跟随",
                        )
                    )
                else:
                    view.problem(
                        tr(
                            f"{shorten(relative_shown)}: a link that leaves the folder",
                            f"{shorten(relative_shown)}：指向目录之外的链接",
                        )
                    )
            elif stat.S_ISREG(mode.st_mode):
                if relative != relative_shown:
                    view.problem(
                        tr(f"{shorten(relative_shown)}: not UTF-8", f"{shorten(relative_shown)}：文件名不是 UTF-8")
                    )
                    continue
                view.add(relative, mode.st_size, lambda path=path: _plain(path))
            elif not stat.S_ISDIR(mode.st_mode):
                view.problem(
                    tr(f"{shorten(relative_shown)}: a device or pipe", f"{shorten(relative_shown)}：设备或管道")
                )
        folders.sort()
        if os.path.relpath(folder, top).count(os.sep) >= DEEPEST_FOLDER:
            folders.clear()
            view.problem(tr("folders nested too deep", "目录嵌套过深"))


def _plain(path: str) -> BinaryIO:
    """A regular file opened without following a link, and without waiting on a pipe that has taken its place."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    return os.fdopen(handle, "rb")


# --- zip ---------------------------------------------------------------------------------------------------------------


def _zip(file: BinaryIO, view: View) -> None:
    _directory_is_small(file)
    try:
        archive = view._closing.enter_context(zipfile.ZipFile(file))
    except (zipfile.BadZipFile, ValueError, OSError, struct.error, NotImplementedError) as error:
        raise Unreadable(shorten(str(error))) from None
    for info in archive.infolist():
        name = _zip_name(info, view)
        mode = info.external_attr >> 16
        if info.is_dir():
            if wrong := wrong_name(name.rstrip("/")):
                view.problem(f"{shorten(name)}: {wrong}")
        elif stat.S_ISLNK(mode):
            view.problem(tr(f"{shorten(name)}: a link", f"{shorten(name)}：链接"))
        elif stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            view.problem(tr(f"{shorten(name)}: a device or pipe", f"{shorten(name)}：设备或管道"))
        elif info.flag_bits & 0x1:
            view.problem(tr(f"{shorten(name)}: encrypted", f"{shorten(name)}：已加密"))
        elif info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            view.problem(tr(f"{shorten(name)}: an unusual compression", f"{shorten(name)}：不常见的压缩方式"))
        elif info.file_size > SMALL and info.file_size > HIGHEST_RATIO * max(info.compress_size, 1):
            raise Unreadable(
                tr(
                    f"{shorten(name)} unpacks to {info.file_size >> 20} MiB from {info.compress_size >> 10} KiB: a bomb",
                    f"{shorten(name)} 由 {info.compress_size >> 10} KiB 解压到 {info.file_size >> 20} MiB：压缩炸弹",
                )
            )
        else:
            view.add(name, info.file_size, lambda info=info: archive.open(info))


def _directory_is_small(file: BinaryIO) -> None:
    """Raise Unreadable when the central directory is larger than any submission's: zipfile would read all of it."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 65557))
    tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < 22:
        raise Unreadable(tr("a zip that is cut off", "zip 文件不完整"))
    entries, length = struct.unpack("<HL", tail[at + 10 : at + 16])
    if tail[max(0, at - 20) : at - 16] == b"PK\x06\x07":
        raise Unreadable(tr("a zip64: a submission is smaller", "zip64 格式：提交不需要这么大"))
    if entries > MOST_FILES * 2 or length > LARGEST_DIRECTORY:
        raise Unreadable(tr(f"more than {MOST_FILES} files", f"超过 {MOST_FILES} 个文件"))
    file.seek(0)


def _zip_name(info: zipfile.ZipInfo, view: View) -> str:
    """The member's name; without the UTF-8 flag, its bytes are tried as UTF-8 and GB18030, as Windows packs them."""
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


# --- tar ---------------------------------------------------------------------------------------------------------------


def _unpacked(file: BinaryIO, packed: int, view: View) -> BinaryIO:
    """A gzip stream unpacked into an unnamed temporary file. Raises Unreadable beyond the limits."""
    file.seek(0)
    target = view._closing.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
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


def _tar(file: BinaryIO, view: View) -> None:
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
                longer |= _extension(kind, file.read(length))
        else:
            length = longer.get("size", length)
            if start + length > size:
                raise Unreadable(tr("a tar that is cut off", "tar 文件不完整"))
            _tar_member(file, view, header, kind, start, length, longer.get("path"))
            longer = {}
        at = start + (length + 511) // 512 * 512


def _extension(kind: bytes, data: bytes) -> dict:
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


def _tar_member(
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
        view.problem(
            tr(
                f"{shorten(raw.decode(errors='replace'))}: not UTF-8",
                f"{shorten(raw.decode(errors='replace'))}：文件名不是 UTF-8",
            )
        )
        return
    if kind in (b"0", b"\0", b"7"):
        view.add(name, length, lambda: _Slice(file, start, length))
    elif kind in (b"1", b"2"):
        view.problem(tr(f"{shorten(name)}: a link", f"{shorten(name)}：链接"))
    elif kind != b"5":
        view.problem(tr(f"{shorten(name)}: a device or pipe", f"{shorten(name)}：设备或管道"))
    elif wrong := wrong_name(name.rstrip("/").removeprefix("./") or "."):
        view.problem(f"{shorten(name)}: {wrong}")
