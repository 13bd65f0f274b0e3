"""Locks that die with the process that holds them: one maker of an output at a time, and who left a temporary file."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from lesson.core.messages import UserError, tr

PATIENCE = 10.0  # seconds that a stage waits for another one with the same output: longer than data or config take
PAUSE = 0.05  # seconds between two attempts
CANNOT_BE_WRITTEN = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT)


def try_lock(handle: int, shared: bool = False) -> bool:
    """Lock an open file or folder for as long as it is open; False when somebody else has it locked.

    True also on a file system that knows no such locks: what is written there is whole all the same.
    """
    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


@contextlib.contextmanager
def lock_output(output: Path, shared: bool = False, patience: float = PATIENCE) -> Iterator[None]:
    """Only one process makes `output` at a time; several may read it meanwhile with `shared`, and nobody makes it then.

    Another one is waited for. Raises UserError when it takes longer than `patience` seconds. The lock is a file beside
    the output, `.NAME.lock`, that goes with it; a killed process leaves the file, which locks nothing.
    """
    path = output.with_name(f".{output.name}.lock")
    handle = _take(path, output, shared, time.monotonic() + patience)
    try:
        yield
    finally:
        if handle is not None:
            if try_lock(handle) and _is_still(handle, path):  # others of a shared lock still need the file
                with contextlib.suppress(OSError):
                    os.unlink(path)
            os.close(handle)


def _take(path: Path, output: Path, shared: bool, until: float) -> int | None:
    """The open lock file; None on a disk that cannot be written: nobody makes anything there, and reading needs no lock."""
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            if error.errno in CANNOT_BE_WRITTEN:
                return None
            raise
        if try_lock(handle, shared):
            if _is_still(handle, path):
                if not shared:
                    with contextlib.suppress(OSError):  # a full disk: only the number of the process is not told
                        os.truncate(handle, 0)
                        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
                return handle
            os.close(handle)  # removed by the one who had it before
            continue
        holder = os.pread(handle, 20, 0).decode("ascii", "replace").strip()
        os.close(handle)
        if time.monotonic() > until:
            who = tr(f" (process {holder})", f"（进程 {holder}）") if holder.isdigit() else ""
            raise UserError(
                output,
                tr(f"another stage is at work on it{who}", f"另一个步骤正在使用它{who}"),
                tr(
                    "wait until it has ended, or set BUILD to another folder",
                    "请等它结束，或把 BUILD 设为另一个目录",
                ),
            )
        time.sleep(PAUSE)


def _is_still(handle: int, path: Path) -> bool:
    """Whether the open file is the one that has this name now."""
    try:
        now, mine = os.stat(path), os.fstat(handle)
    except OSError:
        return False
    return (now.st_dev, now.st_ino) == (mine.st_dev, mine.st_ino)
