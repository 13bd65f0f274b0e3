"""Whose fault an error is: that of what was handed in, or that of the checker and its machine; and how it is told."""

from __future__ import annotations

import re
import resource
from pathlib import Path

from lesson.core.messages import UserError, tr
from lesson.core.text import shorten

NEAR_LIMIT = 0.75  # of the memory that a judging process may have: what ran out of it there was not the machine


def is_checkers_trouble(error: Exception) -> bool:
    """Whether an error is of the checker or its machine (disk, memory, packages, files of ours), not of what it reads.

    What a submission holds is bounded before it is parsed. If it fills the memory of its process all the same, that is
    told by how much of it was used.
    """
    if isinstance(error, MemoryError):
        return not _memory_was_used_up()
    return isinstance(error, OSError | ImportError | UserError | NotImplementedError)


def _memory_was_used_up() -> bool:
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return False
    peak = re.search(r"VmPeak:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return peak is not None and int(peak[1]) * 1024 > NEAR_LIMIT * limit


UNUSUAL = (
    "hand in the files as the stages wrote them; if they are, tell the staff",
    "请提交各步骤生成的原文件；如果已经是原文件，请联系教师",
)


def stopped_by_content(error: Exception) -> str:
    """That a value in what was handed in stopped a check, and which error it made."""
    return tr("a value in the files stops this check: ", "文件中的值使检查无法进行：") + explain_error(error)


def explain_error(error: Exception) -> str:
    """An unforeseen error in words: its kind and what it says."""
    return f"{type(error).__name__}: {shorten(str(error))}"
