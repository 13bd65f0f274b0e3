"""Which file plays which part in a folder without submission.json, as XTuner and a learner leave it: told by content."""

from __future__ import annotations

import re
from collections.abc import Callable

from lesson.config.reading import LARGEST_SOURCE
from lesson.core.refusals import Unreadable
from lesson.submission.archive.view import View

MOST_SESSIONS = 20  # of a run that was resumed again and again


def find_parts(view: View) -> tuple[dict[str, str], dict[str, list[str]]]:
    """The parts of a plain folder, told by content, and of log and vis_data what earlier sessions left beside them.

    Of several candidates the best, then the last by name. XTuner begins a folder named by the time for each session.
    """
    found: dict[str, tuple[int, str]] = {}
    all_of: dict[str, list[tuple[int, str]]] = {"log": [], "scalars": []}

    def take(part: str, rank: int, name: str) -> None:
        if part in all_of:
            all_of[part].append((rank, name))
        if part not in found or (rank, name) >= found[part]:
            found[part] = (rank, name)

    for name in sorted(view.entries):
        base, lower = name.rpartition("/")[2], name.lower()
        try:
            head = view.head(name) if lower.endswith((".py", ".json", ".jsonl", ".log", ".txt", ".md")) else b""
        except Unreadable:
            continue
        if base == "adapter_config.json":
            take("adapter_config", 1, name)
        elif lower.endswith(".safetensors") and "adapter" in lower:
            take("adapter", 1, name)
        elif lower.endswith(".py"):
            try:
                text = view.read(name, LARGEST_SOURCE)
            except Unreadable:
                continue
            if b"train_dataloader" in text or b"SupervisedFinetune" in text:
                take("config", 2 if b"from xtuner" in text else 1, name)
        elif lower.endswith((".log", ".txt")):
            if b"mmengine" in head or b"Iter(train)" in head:
                take("log", 2 if lower.endswith(".log") else 1, name)
        elif lower.endswith((".json", ".jsonl")):
            _take_json(name, base, head, take)
    earlier: dict[str, list[str]] = {}
    for part, candidates in all_of.items():
        if part in found and (work_dir := _work_dir(found[part][1])) is not None:
            rank, last = found[part]
            names = [name for other, name in candidates if other == rank and _work_dir(name) == work_dir]
            earlier[part] = [name for name in sorted(names) if name < last][-MOST_SESSIONS:]
    return {part: name for part, (_, name) in found.items()}, earlier


def _work_dir(name: str) -> str | None:
    """The folder above XTuner's session folder (20261124_150339) that a file lies in; None when it lies in none."""
    match = re.match(r"(.*?)(?:^|/)\d{8}_\d{6}/", name)
    return match[1] if match else None


def _take_json(name: str, base: str, head: bytes, take: Callable[[str, int, str], None]) -> None:
    first = head.split(b"\n", 1)[0]
    if b'"conversation"' in first:
        take("data", 2 if "change" in base else 1, name)
    elif b'"curve"' in head or (b'"inputs"' in head and b'"persona"' in head):
        take("record", 1, name)
    elif b'"failures"' in head or (b'"prompts"' in head and b'"names"' in head):
        take("evaluation", 1, name)
    elif b'"output"' in first and b'"input"' in first:
        take("answers", 1, name)
    elif b'"tokens"' in head and b'"seconds"' in head and b'"step"' in head:
        take("curve", 1, name)
    elif b'"loss"' in first and b'"step"' in first:
        take("scalars", 2 if base == "scalars.json" else 1, name)
