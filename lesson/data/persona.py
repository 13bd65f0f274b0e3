"""The persona: the system prompt that most rows begin with."""

from __future__ import annotations

import collections
import json
from pathlib import Path

from lesson.core.messages import UserError, tr
from lesson.data.rows import open_bytes, read_lines


class PersonaCounter:
    """Counts the system prompts that rows begin with."""

    def __init__(self) -> None:
        self._rows: collections.Counter[str] = collections.Counter()

    def count_row(self, turns: list[dict]) -> None:
        """Take in a conversation. Raises LookupError, TypeError or AttributeError for what is none."""
        system = turns[0].get("system")
        if isinstance(system, str) and system.strip():
            self._rows[system] += 1

    def most_frequent(self) -> str | None:
        """The persona; None where no row has a system prompt. Of two that are as frequent, the one seen first."""
        return self._rows.most_common(1)[0][0] if self._rows else None


def read_persona(path: str | Path) -> str:
    """The persona of a data file; "" where no row has a system prompt. Raises UserError when a line is no conversation."""
    remedy = tr("run `make data` again", "请重新运行 make data")
    counter = PersonaCounter()
    with open_bytes(path, remedy) as stream:
        for number, line in read_lines(stream):
            try:
                counter.count_row(json.loads(line or b"")["conversation"])
            except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
                raise UserError(f"{path}:{number}", tr("not a conversation", "不是对话数据"), remedy) from None
    return counter.most_frequent() or ""
