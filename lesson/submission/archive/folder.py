"""A folder that was handed in: its regular files; links are not followed, devices and pipes not opened."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from lesson.core.messages import tr
from lesson.core.refusals import Unreadable
from lesson.core.text import shorten
from lesson.submission.archive.view import DEEPEST_FOLDER, MOST_FILES, View


def read_folder(top: Path, view: View) -> None:
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
                real_target = os.path.realpath(path)
                inside = real_target == real or real_target.startswith(real + os.sep)
                target = os.readlink(path).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
                view.add_link(relative_shown, target, inside)
            elif stat.S_ISREG(mode.st_mode):
                if relative != relative_shown:
                    view.add_problem(
                        tr(f"{shorten(relative_shown)}: not UTF-8", f"{shorten(relative_shown)}：文件名不是 UTF-8")
                    )
                    continue
                view.add_file(relative, mode.st_size, lambda path=path: _open_regular(path))
            elif not stat.S_ISDIR(mode.st_mode):
                view.add_problem(
                    tr(f"{shorten(relative_shown)}: a device or pipe", f"{shorten(relative_shown)}：设备或管道")
                )
        folders.sort()
        if os.path.relpath(folder, top).count(os.sep) >= DEEPEST_FOLDER:
            folders.clear()
            view.add_problem(tr("folders nested too deep", "目录嵌套过深"))


def _open_regular(path: str) -> BinaryIO:
    """A regular file opened without following a link, and without waiting on a pipe that has taken its place."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    return os.fdopen(handle, "rb")
