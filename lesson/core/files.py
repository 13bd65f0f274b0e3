"""Files as stages hand them on: checked before reading, written whole or not at all, known by hash.

A file or folder is written under another name in the same folder, brought to disk and renamed. Such a temporary file is
locked while it is written; those of killed processes are not, and the next run removes them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

from lesson.core.messages import UserError, tr

LARGE = 64 << 20  # bytes from which several files are hashed at once: starting threads costs a millisecond


def sha256(path: str | Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_all(paths: Sequence[Path]) -> list[str]:
    """SHA-256 of each file, in their order; several are read at once where they are large, as a model's shards are."""
    if len(paths) < 2 or sum(path.stat().st_size for path in paths) < LARGE:
        return [sha256(path) for path in paths]
    from concurrent.futures import ThreadPoolExecutor  # not at the top: what only checks a small file starts without it

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # hashlib lets other threads run meanwhile
        return list(pool.map(sha256, paths))


def sha256_tree(folder: str | Path) -> str:
    """SHA-256 over the sorted names and hashes of all files below `folder`, records left out."""
    files = sorted(p for p in Path(folder).rglob("*") if p.is_file() and not p.name.endswith(".record.json"))
    digest = hashlib.sha256()
    for path, found in zip(files, sha256_of_all(files), strict=True):
        digest.update(f"{path.relative_to(folder).as_posix()}\0{found}\n".encode())
    return digest.hexdigest()


def hash_path(path: str | Path) -> str:
    """SHA-256 of a file, or over all files of a folder."""
    return sha256_tree(path) if Path(path).is_dir() else sha256(path)


def readable(path: str | Path, remedy: str) -> Path:
    """`path` as a file that exists, is a file, is not empty and can be read. Raises UserError."""
    path = Path(path)
    if path.is_dir():
        raise UserError(path, tr("a folder, where a file is needed", "这是目录，需要文件"), remedy)
    if not path.exists():
        raise UserError(path, tr("no such file", "没有这个文件"), remedy)
    if not os.access(path, os.R_OK):
        raise UserError(path, tr("may not be read", "无权读取"), remedy)
    if path.is_file() and path.stat().st_size == 0:
        raise UserError(path, tr("the file is empty", "文件是空的"), remedy)
    return path


@contextlib.contextmanager
def atomic(path: str | Path, mode: str = "w", announce: Callable[[Path], object] | None = None) -> Iterator[IO]:
    """A file to write that appears under `path` only when the block ended well. Text is UTF-8 with LF.

    `announce` is called with the finished temporary file, just before it gets its name.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    handle, temporary = _make_temporary(path, folder=False)
    try:
        with open(handle, mode, **text) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.chmod(temporary, 0o666 & ~_umask())
            if announce:
                announce(temporary)
            os.replace(temporary, path)  # before it is closed, which ends its lock
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError) and not error.filename:  # a full disk is reported without a place
            error.filename = str(path)
        raise
    _fsync_folder(path.parent)


@contextlib.contextmanager
def atomic_folder(path: str | Path, announce: Callable[[Path], object] | None = None) -> Iterator[Path]:
    """An empty folder to fill that appears under `path` only when the block ended well, in place of what was there.

    `announce` is called with the filled temporary folder, just before it gets its name. A killed process leaves at most
    a folder `.NAME.*.tmp` beside it, which the next one for `path` removes.
    """
    path = Path(path)
    with temporary_folder(path) as temporary:
        yield temporary
        os.chmod(temporary, 0o777 & ~_umask())
        for file in temporary.rglob("*"):
            if file.is_file():
                with open(file, "rb") as written:
                    os.fsync(written.fileno())
        if announce:
            announce(temporary)
        replace_folder(temporary, path)


@contextlib.contextmanager
def temporary_folder(path: str | Path) -> Iterator[Path]:
    """An empty folder on the file system of `path`, for the block alone; one that a killed process left goes as well."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = _make_temporary(path, folder=True)
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        os.close(handle)


def replace_folder(new: str | Path, path: str | Path) -> None:
    """Give the finished folder `new` the name `path`, on the same file system; the folder or link there is removed.

    Linux exchanges two names in one step, so that at no moment there is neither. Where the file system cannot, the old
    folder goes aside first, into `.NAME.*.tmp`, and comes back if the renaming fails or, after a kill, in the next run.
    """
    new, path = Path(new), Path(path)
    if not os.path.lexists(path):
        os.replace(new, path)
    elif _exchange_names(new, path):
        _remove(new)
    else:
        with temporary_folder(path) as aside:
            os.replace(path, aside / ASIDE)
            try:
                os.replace(new, path)
            except BaseException:
                os.replace(aside / ASIDE, path)
                raise
    _fsync_folder(path.parent)


def replace_link(link: str | Path, target: Path) -> None:
    """Make `link` a symbolic link to the folder `target`, in place of a link or folder that is there, in one step."""
    link = Path(link)
    with temporary_folder(link) as temporary:
        (temporary / "link").symlink_to(target, target_is_directory=True)
        if link.is_dir() and not link.is_symlink():
            replace_folder(temporary / "link", link)
        else:
            os.replace(temporary / "link", link)


ASIDE = "old"  # the name, in a temporary folder, of what has gone aside
TEMPORARY, NEW = ".tmp", ".new"  # how the names of temporary files end; `.new` for the moment before they are locked
EMPTY_FOR = 60  # seconds after which a `.new`, which is empty, is one that a killed process left


def _make_temporary(path: Path, folder: bool) -> tuple[int, Path]:
    """(open handle, path) of a new `.NAME.*.tmp` beside `path`, locked as long as the handle is open.

    Those that killed processes left for the same `path` are removed.
    """
    from lesson.core.locks import try_lock  # what only reads, as the checker, starts without it

    _remove_left(path.parent, path.name)
    prefix = f".{path.name}."
    # It gets the name by which others look for left ones when it is locked: never without.
    if folder:
        made = tempfile.mkdtemp(dir=path.parent, prefix=prefix, suffix=NEW)
        handle = os.open(made, os.O_RDONLY)
    else:
        handle, made = tempfile.mkstemp(dir=path.parent, prefix=prefix, suffix=NEW)
    try_lock(handle)
    temporary = made.removesuffix(NEW) + TEMPORARY
    os.rename(made, temporary)
    return handle, Path(temporary)


def remove_left_files(folder: Path, name: str = "") -> None:
    """Remove the temporary files and folders that killed processes left in `folder`, those for `name` or all."""
    with contextlib.suppress(OSError):  # no such folder; a disk that cannot be written keeps what it has
        _remove_left(folder, name)


def _remove_left(folder: Path, name: str) -> None:
    """Remove what is left of killed processes: `.NAME.*.tmp`, or of all names where `name` is empty."""
    from lesson.core.locks import try_lock

    prefix = f".{name}." if name else "."
    with os.scandir(folder) as entries:
        left = [Path(e.path) for e in entries if e.name.startswith(prefix) and e.name.endswith((TEMPORARY, NEW))]
    for path in left:
        with contextlib.suppress(OSError):
            if path.suffix == NEW:
                if abs(time.time() - path.lstat().st_mtime) > EMPTY_FOR:
                    path.rmdir() if path.is_dir() else path.unlink()
                continue
            if path.is_symlink():  # of an earlier version
                path.unlink()
                continue
            handle = os.open(path, os.O_RDONLY)
            try:
                if not try_lock(handle):
                    continue
                original = path.with_name(path.stem[1:].rpartition(".")[0])
                if os.path.lexists(path / ASIDE) and not os.path.lexists(original):
                    os.replace(path / ASIDE, original)
                _remove(path)
            finally:
                os.close(handle)


def _exchange_names(one: Path, other: Path) -> bool:
    """Swap the names of two files or folders in one step; False where the system cannot."""
    import ctypes  # only where a folder is replaced: imports are most of a small run's time

    at_working_folder, exchange = -100, 2  # AT_FDCWD of <fcntl.h>, RENAME_EXCHANGE of <linux/fs.h>
    try:
        rename = ctypes.CDLL(None).renameat2
    except (AttributeError, OSError):  # not Linux, or an old C library
        return False
    return rename(at_working_folder, os.fsencode(one), at_working_folder, os.fsencode(other), exchange) == 0


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _fsync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: str | Path, value: object) -> None:
    """Write `value` as JSON, keys in their order, for people to read and diff."""
    with atomic(path) as file:
        json.dump(value, file, ensure_ascii=False, indent=2, allow_nan=False)
        file.write("\n")


def read_json(path: str | Path, remedy: str) -> object:
    """The JSON document in `path`. Raises UserError with line and column where it breaks."""
    try:
        return json.loads(readable(path, remedy).read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise UserError(path, f"UTF-8: {error.reason}", remedy) from None
    except RecursionError:
        raise UserError(path, tr("JSON: nested too deeply", "JSON：嵌套过深"), remedy) from None
    except json.JSONDecodeError as error:
        raise UserError(f"{path}:{error.lineno}:{error.colno}", f"JSON: {error.msg}", remedy) from None
