"""What each file of a plain folder may be, told by content. Which of several plays the part is chosen in plain_folder.py."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from lesson.config.reading import LARGEST_SOURCE
from lesson.core.refusals import Unreadable
from lesson.submission.archive.view import View

TEXTS = (".py", ".json", ".jsonl", ".log", ".txt", ".out", ".md", ".gz", ".zst")
LOG_LINE = re.compile(rb"\d\d/\d\d \d\d:\d\d:\d\d - mmengine - ")
ROW = re.compile(rb'^\s*\[?\s*\{\s*"(conversation|messages|conversations)"\s*:')
ARRAY = re.compile(rb"\s*\[\s*\{")
LFS_POINTER = b"version https://git-lfs.github.com/spec/"
# XTuner's package, cloned beside: its own configs are nobody's.
CLONE = re.compile(r"(^|/)(xtuner/(configs|dataset|model|engine|tools|_lite)|site-packages)/")


@dataclass
class Candidates:
    """Names of files by the part that they may play. `adapters` are folders: {folder: {"adapter" | "adapter_config": file}}."""

    config: list[str] = field(default_factory=list)
    data: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    scalars: list[str] = field(default_factory=list)
    record: list[str] = field(default_factory=list)
    evaluation: list[str] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    curve: list[str] = field(default_factory=list)
    adapters: dict[str, dict[str, str]] = field(default_factory=dict)
    pointers: list[str] = field(default_factory=list)  # of Git LFS: the file itself is not there


def find_candidates(view: View) -> Candidates:
    """What each file may be. A file that cannot be read is nothing; the check `opens` says so."""
    found = Candidates()
    for name in sorted(view.entries):
        base, lower = name.rpartition("/")[2], name.lower()
        weights = lower.endswith(".safetensors") and "adapter" in lower
        if weights or base == "adapter_config.json":
            kind = "adapter" if weights else "adapter_config"
            found.adapters.setdefault(name[: -len(base)], {})[kind] = name
        try:
            head = view.head(name) if lower.endswith(TEXTS) or weights else b""
        except Unreadable:
            continue
        if head.startswith(LFS_POINTER):
            found.pointers.append(name)
        elif lower.endswith(".py") and not CLONE.search(name):
            if _is_config(view, name):
                found.config.append(name)
        elif lower.endswith((".log", ".txt", ".out")):
            if LOG_LINE.search(head):
                found.log.append(name)
        elif lower.endswith((".json", ".jsonl")) and base != "adapter_config.json":
            _take_json(name, head, found)
    return found


def is_lfs_pointer(view: View, name: str) -> bool:
    """Whether Git LFS left a pointer where the file should be. Such a text has 130 bytes."""
    return view.entries[name].size < 1024 and view.head(name, len(LFS_POINTER)) == LFS_POINTER


def _is_config(view: View, name: str) -> bool:
    try:
        text = view.read(name, LARGEST_SOURCE)
    except Unreadable:
        return False
    return b"train_dataloader" in text or b"SupervisedFinetune" in text


def _take_json(name: str, head: bytes, found: Candidates) -> None:
    first = head.split(b"\n", 1)[0]
    if ROW.match(head):
        found.data.append(name)
    elif b'"curve"' in head or (b'"inputs"' in head and b'"persona"' in head):
        found.record.append(name)
    elif b'"failures"' in head or (b'"prompts"' in head and b'"names"' in head):
        found.evaluation.append(name)
    elif b'"output"' in (line := head if ARRAY.match(head) else first) and b'"input"' in line:
        # Rows in Alpaca's format have an instruction; those of the lesson's script were called so as well.
        (found.data if b'"instruction"' in line else found.answers).append(name)
    elif b'"tokens"' in head and b'"seconds"' in head and b'"step"' in head:
        found.curve.append(name)
    elif b'"loss"' in first and b'"step"' in first:
        found.scalars.append(name)
