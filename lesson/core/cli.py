"""The command line that all stages share: `run(arguments, stdout, stderr) -> exit status`, testable without a process.

Exit status: 0 done, 1 judged and found wanting (a failed evaluation, a failed doctor), 2 unusable input, 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import TextIO

from lesson.core.messages import UserError, set_language, tr
from lesson.core.settings import SETTINGS, Values

Stage = Callable[[Values], int]


def parser(module: str, doc: str, settings: Sequence[str]) -> argparse.ArgumentParser:
    """A parser with one flag per named setting, plus --lang."""
    result = argparse.ArgumentParser(prog=f"python -m recipe.{module}", description=doc.strip().splitlines()[0])
    for key in dict.fromkeys([*settings, "LANG"]):
        setting = SETTINGS[key]
        result.add_argument(
            setting.flag, dest=key, metavar=key, default=None, help=tr(setting.en, setting.zh).replace("%", "%%")
        )
    return result


def run(
    module: str,
    doc: str,
    settings: Sequence[str],
    stage: Stage,
    arguments: Sequence[str],
    stdout: TextIO | None = None,
    stderr: TextIO | None = None,
) -> int:
    """Parse `arguments`, call `stage` with the values and give back its exit status; user errors become one line."""

    def call() -> int:
        flags = vars(parser(module, doc, settings).parse_args(arguments))
        set_language(flags["LANG"])
        return stage(Values(flags))

    return guarded(call, stdout, stderr)


def show_line(line: str) -> None:
    """Print a line of progress at once: what a script gives to the library as `report`."""
    print(line, flush=True)


def show_note(lines: Sequence[str]) -> None:
    """Print what is said beside the result, so that the result alone goes on to another program."""
    for line in lines:
        print(line, file=sys.stderr, flush=True)


def guarded(call: Callable[[], int], stdout: TextIO | None = None, stderr: TextIO | None = None) -> int:
    """The exit status of `call()`, its output sent to the given streams; user errors become one line."""
    out, err = stdout or sys.stdout, stderr or sys.stderr
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            return call()
        except SystemExit as stop:  # argparse: 0 after --help, 2 after a wrong flag
            return int(stop.code or 0)
        except UserError as error:
            if error.details:
                print(error.details, file=err)
            print(tr("error: ", "错误：") + str(error), file=err)
            return 2
        except KeyboardInterrupt:
            print(tr("\nstopped; the same command goes on", "\n已停止；再次运行同一命令可继续"), file=err)
            return 130
        except BrokenPipeError:  # the reader (head, less) went away: not an error of ours
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            return 128 + signal.SIGPIPE
        except OSError as error:
            print(tr("error: ", "错误：") + str(_os_error(error)), file=err)
            return 2


def _os_error(error: OSError) -> UserError:
    # A copy names its source first; what is full is the place that it copies to.
    where = (error.errno == errno.ENOSPC and error.filename2) or error.filename or tr("the file system", "文件系统")
    remedy = {
        errno.ENOSPC: tr("free some disk space or set BUILD to another disk", "请清理磁盘，或把 BUILD 设到别的磁盘"),
        errno.EACCES: tr("make it readable and writable for you", "请给自己读写权限"),
        errno.EROFS: tr("set BUILD to a folder that can be written", "请把 BUILD 设为可写的目录"),
        errno.ENOENT: tr("check the path", "请检查路径"),
    }.get(error.errno, tr("check the path and the disk", "请检查路径和磁盘"))
    return UserError(where, error.strerror or str(error), remedy)
