"""Files as stages hand them on: checked before reading, written whole or not at all, remembered by hash.

A stage writes its output atomically (temporary file in the same folder, fsync, rename) and a record beside it,
`OUTPUT.record.json`: the hashes of its inputs, its parameters and the hash of what it wrote. The record answers two
questions: is the stage up to date, and did the user edit the output since.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from lesson.core.messages import UserError, tr


def sha256(path: str | Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_tree(folder: str | Path) -> str:
    """SHA-256 over the sorted names and hashes of all files below `folder`, records left out."""
    digest = hashlib.sha256()
    for path in sorted(p for p in Path(folder).rglob("*") if p.is_file()):
        if not path.name.endswith(".record.json"):
            digest.update(f"{path.relative_to(folder).as_posix()}\0{sha256(path)}\n".encode())
    return digest.hexdigest()


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
def atomic(path: str | Path, mode: str = "w") -> Iterator[IO]:
    """A file to write that appears under `path` only when the block ended well. Text is UTF-8 with LF."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with open(handle, mode, **text) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError) and not error.filename:  # a full disk is reported without a place
            error.filename = str(path)
        raise
    _fsync_folder(path.parent)


@contextlib.contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """An empty folder to fill that appears under `path` only when the block ended well, in place of what was there.

    A killed process leaves at most a folder `.NAME.*.tmp` beside it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _folder_beside(path)
    try:
        yield temporary
        os.chmod(temporary, 0o777 & ~_umask())
        for file in temporary.rglob("*"):
            if file.is_file():
                with open(file, "rb") as written:
                    os.fsync(written.fileno())
        replace_folder(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def replace_folder(new: str | Path, path: str | Path) -> None:
    """Give the finished folder `new` the name `path`, on the same file system; the folder or link there is removed.

    Linux exchanges two names in one step, so that at no moment there is neither. Where the file system cannot, the old
    folder goes aside first, into `.NAME.*.tmp`, and comes back if the renaming fails.
    """
    new, path = Path(new), Path(path)
    if not os.path.lexists(path):
        os.replace(new, path)
    elif _exchange_names(new, path):
        _remove(new)
    else:
        aside = _folder_beside(path)
        os.replace(path, aside / "old")
        try:
            os.replace(new, path)
        except BaseException:
            os.replace(aside / "old", path)
            aside.rmdir()
            raise
        shutil.rmtree(aside)
    _fsync_folder(path.parent)


def replace_link(link: str | Path, target: Path) -> None:
    """Make `link` a symbolic link to the folder `target`, in place of a link that is there, in one step."""
    link = Path(link)
    link.parent.mkdir(parents=True, exist_ok=True)
    temporary = link.with_name(f".{link.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target, target_is_directory=True)
    os.replace(temporary, link)


def _folder_beside(path: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp"))


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
    text = readable(path, remedy).read_text(encoding="utf-8")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"{path}:{error.lineno}:{error.colno}", f"JSON: {error.msg}", remedy) from None


def record_path(output: str | Path) -> Path:
    output = Path(output)
    return output.with_name(output.name + ".record.json")


def hash_path(path: str | Path) -> str:
    return sha256_tree(path) if Path(path).is_dir() else sha256(path)


class Record:
    """What `output` was made from: {name: hash of an input} and {name: parameter}. Compare first, write last."""

    def __init__(self, output: str | Path, inputs: dict[str, str], parameters: dict[str, object]) -> None:
        self.output, self.inputs, self.parameters = Path(output), inputs, parameters

    def _stored(self) -> dict | None:
        try:
            return json.loads(record_path(self.output).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def has_same_parameters(self) -> bool:
        """True when the output was made with the same parameters; if not, it is not up to date, whatever the inputs."""
        stored = self._stored()
        return stored is not None and stored.get("parameters") == self.parameters

    def up_to_date(self) -> bool:
        """True when the output is there, unedited, and was made from the same inputs and parameters."""
        stored = self._stored()
        return (
            stored is not None
            and self.output.exists()
            and stored.get("inputs") == self.inputs
            and stored.get("parameters") == self.parameters
            and stored.get("output") == hash_path(self.output)
        )

    def guard(self, force: bool) -> None:
        """Raise UserError when the output was made or edited by the user, unless `force` (FORCE=1)."""
        stored = self._stored()
        if force or not self.output.exists():
            return
        if stored is None or stored.get("output") != hash_path(self.output):
            raise UserError(
                self.output,
                tr("was edited since it was made and would be overwritten", "生成后被修改过，将会被覆盖"),
                tr("keep a copy and call again with FORCE=1", "请先备份，再加 FORCE=1 重试"),
            )

    def write(self, **facts: object) -> dict[str, object]:
        """Write the record of the finished output, with further `facts` (counts, versions), and give it back."""
        document = {"inputs": self.inputs, "parameters": self.parameters, "output": hash_path(self.output), **facts}
        write_json(record_path(self.output), document)
        return document
