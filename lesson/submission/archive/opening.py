"""Opens a submission: a folder, a zip or a tar, told by content."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from lesson.core.messages import tr
from lesson.core.refusals import Unreadable
from lesson.submission.archive.folder import read_folder
from lesson.submission.archive.tar_file import read_tar, unpack_gzip
from lesson.submission.archive.view import LARGEST, LARGEST_UNREAD, View
from lesson.submission.archive.zip_file import read_zip


def open_view(path: str | Path) -> View:
    """The view of a folder, a zip or a tar (plain or gzip), told by content. Raises Unreadable, OSError."""
    path, view = Path(path), View()
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        read_folder(path, view)
    elif not stat.S_ISREG(mode):
        raise Unreadable(tr("neither a folder nor a file", "既不是目录也不是文件"))
    else:
        if path.stat().st_size > LARGEST + LARGEST_UNREAD:
            raise Unreadable(tr(f"more than {LARGEST_UNREAD >> 30} GiB", f"超过 {LARGEST_UNREAD >> 30} GiB"))
        file = view.keep_open(open(path, "rb"))  # noqa: SIM115
        start = file.read(512)
        if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            read_zip(file, view)
        elif start.startswith(b"\x1f\x8b"):
            read_tar(unpack_gzip(file, path.stat().st_size, view), view)
        elif start[257:262] == b"ustar":
            read_tar(file, view)
        else:
            raise Unreadable(
                tr("not a folder, a zip or a tar (.tar, .tar.gz)", "不是目录、zip 或 tar（.tar、.tar.gz）")
            )
    tops = {name.split("/")[0] for name in view.entries}
    while len(tops) == 1 and all("/" in name for name in view.entries):
        view = view.below(tops.pop())
        tops = {name.split("/")[0] for name in view.entries}
    return view
