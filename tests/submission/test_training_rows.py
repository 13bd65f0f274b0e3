"""Rows in each form that XTuner trains on come out as JSON Lines of conversations; its own byte for byte."""

from __future__ import annotations

import io
import json

import pytest

from lesson.core.refusals import Broken, Unreadable
from lesson.submission import training_rows
from lesson.submission.archive.view import View
from lesson.submission.training_rows import ChainedStream, open_rows

ROW = {"conversation": [{"input": "你是谁", "output": "闻星"}]}


def read_rows(data: bytes) -> bytes:
    view = View()
    view.add_file("x.jsonl", len(data), lambda: io.BytesIO(data))
    with open_rows(view, "x.jsonl") as stream:
        return stream.read()


def message(role: str, text: object = None) -> dict:
    return {"role": role, "content": role if text is None else text}


def test_its_own_rows_come_byte_for_byte():
    for data in (b'{"conversation":[ ]}\n\n{"x": 1}', b"", b"no JSON", b'\xef\xbb\xbf{"conversation": []}\r\n'):
        assert read_rows(data) == data


def test_an_array_and_a_pretty_object_become_lines():
    lines = b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in (ROW, ROW))
    assert read_rows(json.dumps([ROW, ROW], indent=1).encode()) == lines
    assert read_rows(b"\xef\xbb\xbf" + json.dumps([ROW, ROW]).encode()) == lines
    assert read_rows(json.dumps(ROW, indent=2).encode()).count(b"\n") == 1


@pytest.mark.parametrize(
    ("messages", "turns"),
    [
        ("user assistant", [{"input": "user", "output": "assistant"}]),
        ("system user assistant", [{"system": "system", "input": "user", "output": "assistant"}]),
        ("user user assistant", [{"input": "useruser", "output": "assistant"}]),
        ("assistant user assistant", [{"input": "user", "output": "assistant"}]),
        ("system assistant", [{"system": "system", "input": "", "output": "assistant"}]),
        ("user assistant assistant", [{"input": "user", "output": "assistant"}, {"input": "", "output": "assistant"}]),
        (
            "system user assistant user assistant",
            [{"system": "system", "input": "user", "output": "assistant"}, {"input": "user", "output": "assistant"}],
        ),
        ("user", []),
        ("", []),
    ],
)
def test_messages_become_turns_as_xtuner_makes_them(messages, turns):
    row = {"messages": [message(role) for role in messages.split()]}
    assert json.loads(read_rows(b"\n" + json.dumps(row).encode() + b"\n \n")) == {"conversation": turns}
    assert json.loads(read_rows(json.dumps([row]).encode())) == {"conversation": turns}


@pytest.mark.parametrize("wrong", [{"role": "user"}, {"content": "x"}, message("tool"), message("user", 1), "x", None])
def test_a_message_without_role_or_text_is_named(wrong):
    rows = [{"messages": [message("user"), message("assistant")]}, {"messages": [wrong]}]
    for data in ("\n".join(map(json.dumps, rows)), json.dumps(rows)):
        with pytest.raises(Broken, match=r"x\.jsonl: row 2: a message without role and content"):
            read_rows(data.encode())


def test_a_line_that_is_not_json_or_too_long_is_named(monkeypatch):
    first = json.dumps({"messages": [message("user")]})
    for second in ("{", '{"messages": []', '"' + "x" * (1 << 20) + '"'):
        with pytest.raises(Broken, match=r"x\.jsonl:3: not JSON"):
            read_rows(f"{first}\n\n{second}\n".encode())
    with pytest.raises(Broken, match=r"x\.jsonl: \$"):
        read_rows(b'[{"a": 1, "a": 2}]')


def test_a_document_is_read_up_to_a_size(monkeypatch):
    data = json.dumps([ROW]).encode()
    monkeypatch.setattr(training_rows, "LARGEST_DOCUMENT", len(data))
    assert read_rows(data).count(b"\n") == 1
    monkeypatch.setattr(training_rows, "LARGEST_DOCUMENT", len(data) - 1)
    with pytest.raises(Unreadable):
        read_rows(data)


def test_streams_are_read_one_after_the_other_each_with_an_end_of_its_last_line():
    parts = [b"a\nb", b"", b"c\n", b"d", b"e"]
    for size in (-1, 1, 2, 99):
        stream, got = ChainedStream([io.BytesIO(part) for part in parts]), []
        while piece := stream.read(size):
            got.append(piece)
        assert b"".join(got) == b"a\nb\nc\nd\ne" and stream.read(size) == b""
