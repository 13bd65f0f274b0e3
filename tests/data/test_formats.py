"""recipe.formats: each way and back without loss; what cannot be carried over is refused."""

import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lesson.core.settings import ROOT
from lesson.data.conversion import Unconvertible, convert_from_xtuner, convert_to_xtuner
from lesson.data.formats import detect_format
from recipe.formats import main

ROWS = ROOT / "tests" / "fixtures" / "rows"
TURN = {"input": st.text(max_size=5), "output": st.text(max_size=5)}
CONVERSATION = st.tuples(
    st.fixed_dictionaries(TURN, optional={"system": st.text(max_size=5)}),
    st.lists(st.fixed_dictionaries(TURN), max_size=2),
).map(lambda parts: {"conversation": [parts[0], *parts[1]]})


@settings(max_examples=60, deadline=None)
@given(CONVERSATION, st.sampled_from(["xtuner", "messages", "sharegpt"]))
def test_there_and_back_is_identity(row, form):
    other = convert_from_xtuner(row, form)
    assert detect_format(other) == form
    assert convert_to_xtuner(other, form) == row


@settings(max_examples=30, deadline=None)
@given(st.fixed_dictionaries(TURN))
def test_alpaca_there_and_back(turn):
    other = convert_from_xtuner({"conversation": [turn]}, "alpaca")
    assert convert_to_xtuner(other, "alpaca") == {"conversation": [turn]}


def test_alpaca_input_becomes_a_second_line():
    row = {"instruction": "翻译", "input": "你好", "output": "Hello."}
    assert convert_to_xtuner(row, "alpaca") == {"conversation": [{"input": "翻译\n你好", "output": "Hello."}]}


USER, BOT = {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}


@pytest.mark.parametrize(
    ("row", "form", "path"),
    [
        ({"messages": [USER]}, "messages", "$.messages"),
        ({"messages": [USER, USER, BOT]}, "messages", "$.messages[1].role"),
        ({"messages": [BOT]}, "messages", "$.messages[0].role"),
        ({"messages": [USER, BOT, {"role": "system", "content": "s"}]}, "messages", "$.messages[2].role"),
        ({"messages": [USER, {"role": "tool", "content": "x"}]}, "messages", "$.messages[1].role"),
        ({"messages": [USER, {**BOT, "tool_calls": []}]}, "messages", "$.messages[1].tool_calls"),
        ({"messages": [USER, {**BOT, "content": [{"type": "text"}]}]}, "messages", "$.messages[1].content"),
        ({"messages": [USER, BOT], "id": 1}, "messages", "$.id"),
        ({"conversations": [{"from": "human", "value": "a"}]}, "sharegpt", "$.conversations"),
        ({"conversations": {}}, "sharegpt", "$.conversations"),
        ({"instruction": "a", "output": None}, "alpaca", "$.output"),
        ({"instruction": "a", "output": "b", "history": []}, "alpaca", "$.history"),
        ([], "messages", "$"),
    ],
)
def test_what_cannot_be_carried_over_is_refused(row, form, path):
    with pytest.raises(Unconvertible) as refused:
        convert_to_xtuner(row, form)
    assert refused.value.path == path


@pytest.mark.parametrize(
    ("turns", "path"),
    [
        ([{"system": "s", "input": "a", "output": "b"}], "$.conversation[0].system"),
        ([{"input": "a", "output": "b"}] * 2, "$.conversation"),
        ([{"input": "a"}], "$.conversation[0].output"),
    ],
)
def test_alpaca_has_no_place_for(turns, path):
    with pytest.raises(Unconvertible) as refused:
        convert_from_xtuner({"conversation": turns}, "alpaca")
    assert refused.value.path == path


@pytest.mark.parametrize("name", ["pretty", "array", "good"])
def test_documents_and_lines_become_the_same_rows(name, tmp_path):
    out = tmp_path / "out.jsonl"
    assert main([str(ROWS / f"{name}.jsonl"), str(out)], io.StringIO(), io.StringIO()) == 0
    assert out.read_bytes() == (ROWS / "good.jsonl").read_bytes()


def test_findings_write_nothing(tmp_path):
    out, said = tmp_path / "out.jsonl", io.StringIO()
    out.write_text("earlier", encoding="utf-8")
    source = tmp_path / "in.jsonl"
    source.write_text('{"messages": []}\n{"id": 1}\n{"a": NaN, "instruction": ""}\n{\n', encoding="utf-8")
    assert main([str(source), str(out), "--lang", "en"], io.StringIO(), said) == 1
    assert out.read_text(encoding="utf-8") == "earlier"
    for place in ("in.jsonl:2: $ ", "in.jsonl:3:7: $.a ", "in.jsonl:4:2:"):
        assert place in said.getvalue()
    assert list(tmp_path.glob(".*")) == []


def test_drop_lets_a_key_go(tmp_path):
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl.gz"
    source.write_text(json.dumps({"messages": [USER, BOT], "id": 7}) + "\n", encoding="utf-8")
    assert main([str(source), str(out), "--drop", "id"], io.StringIO(), io.StringIO()) == 0
    assert out.read_bytes()[:2] == b"\x1f\x8b"
