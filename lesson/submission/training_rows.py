"""The rows of a file as XTuner trains on them: JSON Lines of conversations, whatever form of JSON they were handed in."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from lesson.core.messages import tr
from lesson.core.refusals import Broken
from lesson.core.strict_json import BROKEN, parse_strict_json
from lesson.data.formats import detect_document
from lesson.data.rows import read_lines
from lesson.submission.archive.view import View

LARGEST_DOCUMENT = 32 << 20  # bytes of a JSON array, which is held in memory as a whole
HEAD = 4096  # bytes by which the form is told


class ChainedStream:
    """Streams of lines read one after the other, each ending its last line."""

    def __init__(self, streams: Sequence[BinaryIO]) -> None:
        self._streams, self._last = list(streams), b"\n"

    def read(self, size: int = -1) -> bytes:
        while self._streams:
            if piece := self._streams[0].read(size):
                self._last = piece[-1:]
                return piece
            self._streams.pop(0)
            if self._streams and self._last != b"\n":
                self._last = b"\n"
                return b"\n"
        return b""


@contextlib.contextmanager
def open_rows(view: View, name: str) -> Iterator[BinaryIO]:
    """A stream of JSON Lines of conversations. XTuner's own rows come byte for byte; an array and OpenAI's `messages` are
    turned into them, as `datasets` and openai_map_fn do. Raises Broken for what is neither, Unreadable."""
    head = view.head(name, HEAD).decode("utf-8", "replace")
    form = detect_document(head)
    if form:
        rows = _read_document(view, name)
    elif head.lstrip("\ufeff \t\r\n").removeprefix("{").lstrip().startswith('"messages"'):
        rows = _read_lines(view, name)
    else:
        with view.open(name) as stream:
            yield stream
        return
    yield io.BytesIO(
        b"".join(json.dumps(_to_conversation(row, name, n), ensure_ascii=False).encode("utf-8", "replace") + b"\n"
                 for n, row in rows)
    )  # fmt: skip


def _read_document(view: View, name: str) -> Iterator[tuple[int, object]]:
    """(number, row) of a JSON array, or of pretty-printed objects one after the other."""
    text = view.read(name, LARGEST_DOCUMENT).decode("utf-8-sig", "replace")
    value, problems = parse_strict_json(text)
    if value is BROKEN or problems:
        found = f"{problems[0].path} {problems[0].found}" if problems else "JSON"
        raise Broken(f"{name}: {found}")
    yield from enumerate(value if isinstance(value, list) else [value], 1)


def _read_lines(view: View, name: str) -> Iterator[tuple[int, object]]:
    with view.open(name) as stream:
        for number, line in read_lines(stream):
            if line is None or line.strip():
                value = BROKEN if line is None else parse_strict_json(line.decode("utf-8", "replace"))[0]
                if value is BROKEN:
                    raise Broken(f"{name}:{number}: " + tr("not JSON", "不是 JSON"))
                yield number, value


def _to_conversation(row: object, name: str, number: int) -> object:
    """A row with `messages` as XTuner's openai_map_fn makes it; any other as it is, for the rules to judge."""
    messages = row.get("messages") if isinstance(row, dict) else None
    if not isinstance(messages, list):
        return row
    turns: list[dict] = []
    system = question = ""
    for message in messages:
        try:
            role, text = message["role"], message["content"]
            if not isinstance(text, str) or role not in ("system", "user", "assistant"):
                raise TypeError
        except (TypeError, KeyError):
            found = tr("a message without role and content", "消息缺少 role 或 content")
            raise Broken(f"{name}: {tr('row', '第')} {number}: {found}") from None
        if role == "system":
            system = text
        elif role == "user":
            question += text
        elif turns or question or system:  # an answer that nothing was asked for is skipped at the start
            turns.append({"system": system, "input": question, "output": text} if system else
                         {"input": question, "output": text})  # fmt: skip
            system = question = ""
    return {"conversation": turns}
