"""The persona of a data file."""

from __future__ import annotations

import json

import pytest

from lesson.core.messages import UserError
from lesson.data.persona import read_persona


def test_the_persona_is_the_system_prompt_of_most_rows(tmp_path):
    path = tmp_path / "x.jsonl"
    prompts = ["你是甲。", "你是乙。", "你是乙。", " ", " ", " ", None, None, None]
    turns = [
        {"input": "a", "output": "b"} if p is None else {"system": p, "input": "a", "output": "b"} for p in prompts
    ]
    path.write_text("".join(json.dumps({"conversation": [turn]}) + "\n" for turn in turns), encoding="utf-8")
    assert read_persona(path) == "你是乙。"


def test_rows_without_a_system_prompt_have_an_empty_persona(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"conversation": [{"input": "a", "output": "b"}]}\n')
    assert read_persona(path) == ""


def test_persona_refuses_what_is_no_data_file(tmp_path):
    for content in (b"{}\n", b"[]\n", b"x\n", b"\xff\n"):
        path = tmp_path / "x.jsonl"
        path.write_bytes(content)
        with pytest.raises(UserError):
            read_persona(path)
