"""Faults at every moment: a stage is forked again and again, and each time killed, or its disk full, one write later.

The moments are the operations by which a process changes a folder: opening to write, renaming, removing, making folders
and links. Python's audit hooks tell each of them before it happens, so that "before operation N" for all N is every
state that a kill can leave, the one between an output and its record among them.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

FIRST_PATH = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.chmod", "shutil.rmtree"}
MAKING = {"open", "os.rename", "os.mkdir", "os.symlink"}  # what a full disk refuses; a removal it does not
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
MOST_MOMENTS = 400  # a stage that makes more is no stage of ours


@dataclass(frozen=True)
class Ended:
    """How a forked stage ended: killed, or with an exit status and what it printed."""

    killed: bool
    status: int = -1
    screen: str = ""


def changes(event: str, arguments: tuple, folder: str) -> str | None:
    """The path below `folder` that an audited operation is about to change; None where it changes nothing there."""
    if event == "open":
        path, _, flags = arguments
        if not isinstance(flags, int) or not flags & WRITES:
            return None
    elif event in FIRST_PATH:
        path = arguments[0]
    elif event == "os.symlink":
        path = arguments[1]
    elif event == "ctypes.dlsym" and arguments[1] == "renameat2":
        return folder  # two names are about to be exchanged
    else:
        return None
    text = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else ""
    return text if text.startswith(folder) else None


def run_forked(act: Callable[[], int], folder: Path, fault: str | None, moment: int) -> Ended:
    """`act()` in a forked process with `fault` from its operation number `moment` on: kill, full or read-only."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status, screen = 70, io.StringIO()
        try:
            os.close(reading)
            if "tqdm" in sys.modules:
                # tqdm's lock is shared by all that are forked: one killed inside it would leave it taken for ever.
                sys.modules["tqdm"].tqdm.set_lock(threading.RLock())
            seen, below = 0, str(folder)

            def watch(event: str, arguments: tuple) -> None:
                nonlocal seen
                path = changes(event, arguments, below) if fault else None
                if path is None:
                    return
                seen += 1
                if seen < moment:
                    return
                if fault == "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                if fault == "full" and event in MAKING:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
                if fault == "read-only":
                    raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)

            with contextlib.redirect_stdout(screen), contextlib.redirect_stderr(screen):
                sys.addaudithook(watch)
                status = act()
        except BaseException as error:
            import traceback

            screen.write("".join(traceback.format_exception(error)))
        finally:
            os.write(writing, screen.getvalue().encode()[:60_000])
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read().decode()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return Ended(code == -signal.SIGKILL, code, said)


def snapshot(folder: Path) -> dict[str, object]:
    """{path below `folder`: bytes, where a link leads, or None of a folder}."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name.endswith(".new") and not (path.is_file() and path.stat().st_size):
            continue  # empty; it goes a minute later
        found[name] = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
    return found


def restore(folder: Path, kept: Path) -> None:
    """Make `folder` what it was when it was copied to `kept`."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(kept, folder, symlinks=True)


def each_moment(
    act: Callable[[], int], folder: Path, fault: str, begin: Path, stride: int = 1
) -> Iterator[tuple[int, Ended]]:
    """(number, how it ended) for each operation of `act`, or each that is a `stride` on, from the state `begin` each time;
    ends when none is left."""
    for moment in range(1, MOST_MOMENTS, stride):
        restore(folder, begin)
        ended = run_forked(act, folder, fault, moment)
        if fault == "kill" and not ended.killed:
            assert ended.status == 0, ended.screen
            return
        if fault == "full" and ended.status == 0:
            return
        yield moment, ended
    raise AssertionError("too many operations")


def repeat_after_kills(
    act: Callable[[], int],
    folder: Path,
    begin: Path,
    made: Callable[[], object],
    stride: int = 1,
    left: Callable[[object, int], None] = lambda wanted, moment: None,
) -> int:
    """Kill `act` at its moments, call it again each time, and assert that it ends in what an undisturbed call makes.

    `made()` is what is compared; `left(wanted, moment)` looks at what a kill left. Gives the number of the last moment.
    """
    assert run_forked(act, folder, None, 0).status == 0
    wanted, moments = made(), 0
    for moment, _ in each_moment(act, folder, "kill", begin, stride):
        left(wanted, moment)
        again = run_forked(act, folder, None, 0)
        assert again.status == 0 and "Traceback" not in again.screen, (moment, again.screen)
        assert made() == wanted, moment
        moments = moment
    return moments
