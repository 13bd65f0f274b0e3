"""Memory of a process with all that it started: what is theirs alone, without the pages of files."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


class AnonymousMemory:
    """The most memory of all processes below this one together, in bytes: `look` at it again and again, `peak` tells.

    It is RssAnon of /proc/PID/status (proc(5)). Pages of mapped files are not in it: they are the file cache, which the
    system takes back when somebody needs it.
    """

    def __init__(self) -> None:
        self.peak = 0

    def look(self) -> None:
        self.peak = max(self.peak, sum(map(read_memory, find_descendants(os.getpid()))))


def find_descendants(root: int) -> list[int]:
    """The process ids of all processes below `root`."""
    parents: dict[int, int] = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
    found = [root]
    for process in found:  # grows while it is walked
        found += [child for child, parent in parents.items() if parent == process]
    return found[1:]


def read_memory(process: int) -> int:
    """Bytes of a process that are no file's; 0 for one that has ended."""
    with contextlib.suppress(OSError):
        lines = (line.split() for line in Path(f"/proc/{process}/status").read_text().splitlines())
        return sum(int(words[1]) * 1024 for words in lines if words[0] == "RssAnon:")
    return 0
