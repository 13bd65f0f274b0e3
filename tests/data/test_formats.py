"""recipe.formats: each way and back without loss; what cannot be carried over is refused."""

import io
import json
import re
import shlex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lesson.core.findings import Findings
from lesson.core.settings import ROOT
from lesson.data.conversion import Unconvertible, convert_from_xtuner, convert_to_xtuner
from lesson.data.conversion_files import convert_file
from lesson.data.formats import detect_format
from lesson.data.rules import ROW_RULES
from recipe.formats import main

ROWS = ROOT / "tests" / "fixtures" / "rows"
TURN = {"input": st.text(max_size=5), "output": st.text(max_size=5)}
SYSTEM = {"system": st.text(max_size=5)}
FIRST = st.fixed_dictionaries(TURN, optional=SYSTEM)
CONVERSATION = st.tuples(FIRST, st.lists(st.fixed_dictionaries(TURN), max_size=2)).map(
    lambda parts: {"conversation": [parts[0], *parts[1]]}
)
LEARNED = st.fixed_dictionaries(TURN, optional={**SYSTEM, "output_with_loss": st.just(False)})


@settings(max_examples=60, deadline=None)
@given(CONVERSATION, st.sampled_from(["xtuner", "messages", "sharegpt", "alpaca"]))
def test_there_and_back_is_identity(row, form):
    other = convert_from_xtuner(row, form)
    assert detect_format(other) == form
    assert convert_to_xtuner(other, form) == row


@settings(max_examples=60, deadline=None)
@given(st.lists(LEARNED, min_size=1, max_size=3))
def test_messages_have_a_place_for_all_that_xtuner_reads(turns):
    row = {"conversation": turns}
    assert convert_to_xtuner(convert_from_xtuner(row, "messages"), "messages") == row


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
        ({"messages": [{"role": "system", "content": "s"}] * 2}, "messages", "$.messages[1].role"),
        ({"messages": [USER, {**BOT, "loss": "no"}]}, "messages", "$.messages[1].loss"),
        ({"messages": [BOT]}, "messages", "$.messages[0].role"),
        ({"messages": [USER, BOT, {"role": "system", "content": "s"}]}, "messages", "$.messages[2].role"),
        ({"messages": [USER, {"role": "tool", "content": "x"}]}, "messages", "$.messages[1].role"),
        ({"messages": [USER, {**BOT, "tool_calls": []}]}, "messages", "$.messages[1].tool_calls"),
        ({"messages": [USER, {**BOT, "content": [{"type": "text"}]}]}, "messages", "$.messages[1].content"),
        ({"messages": [USER, BOT], "id": 1}, "messages", "$.id"),
        ({"conversations": [{"from": "human", "value": "a"}]}, "sharegpt", "$.conversations"),
        ({"conversations": {}}, "sharegpt", "$.conversations"),
        ({"instruction": "a", "output": None}, "alpaca", "$.output"),
        ({"instruction": "a", "output": "b", "history": [["q"]]}, "alpaca", "$.history[0]"),
        ({"question": "a", "input": "b", "prompt": "c", "answer": "d"}, "pairs", "$.prompt"),
        ({"query": "a", "response": "b", "images": []}, "swift", "$.images"),
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
        ([{"input": "a", "output": "b"}, {"system": "s", "input": "a", "output": "b"}], "$.conversation[1].system"),
        ([{"input": "a", "output": "b", "output_with_loss": False}], "$.conversation[0].output_with_loss"),
        ([], "$.conversation"),
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


def test_what_was_written_is_counted(tmp_path):
    done = convert_file(
        str(ROWS / "good.jsonl"), str(tmp_path / "out.jsonl"), "auto", "xtuner", set(), Findings(ROW_RULES)
    )
    assert done["rows"] == len((tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()) > 1


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


TURN_AB = {"input": "a", "output": "b"}
WITH_SYSTEM = {"conversation": [{"system": "s", **TURN_AB}]}


@pytest.mark.parametrize(
    ("row", "form", "expected"),
    [
        ({"instruction": "a", "input": None, "output": "b", "system": "s", "history": []}, "alpaca", [{"system": "s", **TURN_AB}]),
        (
            {"instruction": "c", "input": "", "output": "d", "system": "s", "history": [["a", "b"]]},
            "alpaca",
            [{"system": "s", **TURN_AB}, {"input": "c", "output": "d"}],
        ),
        ({"query": "c", "response": "d", "history": [["a", "b"]]}, "swift", [TURN_AB, {"input": "c", "output": "d"}]),
        ({"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}], "system": "s"}, "sharegpt", [{"system": "s", **TURN_AB}]),
        ({"conversations": [USER, BOT]}, "sharegpt", [TURN_AB]),
        ({"messages": [{"from": "user", "value": "a"}, {"from": "assistant", "value": "b"}]}, "messages", [TURN_AB]),
        ({"messages": [BOT, USER, BOT]}, "messages", [TURN_AB]),
        ({"messages": [USER, USER, BOT]}, "messages", [{"input": "aa", "output": "b"}]),
        ({"messages": [USER, BOT, BOT]}, "messages", [TURN_AB, {"input": "", "output": "b"}]),
        ({"messages": [USER, {**BOT, "loss": False}]}, "messages", [{**TURN_AB, "output_with_loss": False}]),
        ({"messages": [USER, BOT, {"role": "system", "content": "s"}, USER, BOT]}, "messages", [TURN_AB, {"system": "s", **TURN_AB}]),
        ({"input": "a", "output": "b"}, "pairs", [TURN_AB]),
        ({"Question": "a", "Answer": "b", "system": "s"}, "pairs", [{"system": "s", **TURN_AB}]),
        ({"问题": "a", "回答": "b"}, "pairs", [TURN_AB]),
        ({"prompt": "a", "completion": "b"}, "pairs", [TURN_AB]),
        ({"instruction": "a", "input": "c", "response": "b"}, "pairs", [{"input": "a\nc", "output": "b"}]),
    ],
)  # fmt: skip
def test_what_has_a_place_in_xtuners_format_is_carried_over(row, form, expected):
    assert detect_format(row) == form
    assert convert_to_xtuner(row, form) == {"conversation": expected}


def test_xtuners_own_rows_go_through_with_all_keys_and_drop_takes_them_from_turns_too():
    row = {"id": 1, "conversation": [{"system": None, "input": "a", "output": "b", "output_with_loss": False, "n": 1}]}
    assert convert_from_xtuner(convert_to_xtuner(row, "xtuner"), "xtuner") == row
    plain = {"conversation": [{"system": None, "input": "a", "output": "b", "output_with_loss": False}]}
    assert convert_to_xtuner(row, "xtuner", frozenset(("id", "n"))) == plain


def test_all_keys_without_a_place_are_named_once_for_all_rows_with_the_command_that_lets_them_go(tmp_path):
    source, out, said = tmp_path / "in.jsonl", tmp_path / "out.jsonl", io.StringIO()
    rows = [{"messages": [USER, {**BOT, "weight": 1}]}, {"id": 1, "messages": [{**USER, "a b": 0}, BOT]}]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows * 20), encoding="utf-8")
    for form in ("xtuner", "sharegpt"):
        assert main([str(source), str(out), "--to", form, "--lang", "en"], io.StringIO(), said) == 1
        report = said.getvalue()
        assert report.count("[error") == 1 and "'weight'" in report and "in 40 rows" in report
        command = shlex.split(re.search(r"python -m recipe\.formats ([^;]*)", report)[1])
        assert main(command, io.StringIO(), io.StringIO()) == 0
        said = io.StringIO()
    assert json.loads(out.read_text(encoding="utf-8").splitlines()[0]) == {
        "conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]
    }


def test_what_xtuner_ignores_of_a_row_stays(tmp_path):
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text(json.dumps({"id": 7, "messages": [USER, BOT], "tags": ["x"]}) + "\n", encoding="utf-8")
    assert main([str(source), str(out)], io.StringIO(), io.StringIO()) == 0
    assert json.loads(out.read_text(encoding="utf-8")) == {"conversation": [TURN_AB], "id": 7, "tags": ["x"]}
    assert main([str(source), str(out), "--drop", "id", "--drop", "tags"], io.StringIO(), io.StringIO()) == 0
    assert json.loads(out.read_text(encoding="utf-8")) == {"conversation": [TURN_AB]}


def test_the_shipped_rows_become_any_format_and_come_back(tmp_path):
    shipped = ROOT / "data" / "assistant_Tuner.jsonl"
    for form in ("alpaca", "messages", "sharegpt"):
        other, back = tmp_path / form, tmp_path / f"{form}.back"
        assert main([str(shipped), str(other), "--to", form], io.StringIO(), io.StringIO()) == 0
        assert main([str(other), str(back)], io.StringIO(), io.StringIO()) == 0
        assert back.read_bytes() == shipped.read_bytes()


@pytest.mark.torch
def test_rows_become_what_xtuners_own_map_functions_make_of_them():
    from xtuner.dataset.map_fns import alpaca_map_fn, openai_map_fn
    from xtuner.dataset.map_fns.dataset_map_fns.wizardlm_map_fn import wizardlm_map_fn

    system = {"role": "system", "content": "s"}
    talks = [
        [USER, BOT], [system, USER, BOT], [BOT, USER, BOT], [BOT, BOT, USER, BOT], [USER, USER, BOT, USER, BOT],
        [USER, BOT, system, USER, BOT], [system, BOT, USER, BOT], [USER, BOT, BOT],
        [USER, {**BOT, "loss": False}, USER, {**BOT, "loss": "true"}], [USER, {**BOT, "loss": "False"}],
    ]  # fmt: skip
    for messages in talks:
        ours = convert_to_xtuner({"messages": messages}, "messages")["conversation"]
        theirs = openai_map_fn({"messages": messages})["conversation"]
        assert [{"system": "", "output_with_loss": True, **turn} for turn in ours] == theirs
        named = {"user": "human", "assistant": "gpt"}
        if system not in messages and not any("loss" in message for message in messages):
            said = [{"from": named[m["role"]], "value": m["content"]} for m in messages]
            assert convert_to_xtuner({"conversations": said}, "sharegpt") == wizardlm_map_fn({"conversations": said})
    for more, output in (("c", "b"), ("c", "<nooutput>")):
        row = {"instruction": "a", "input": more, "output": output}
        assert convert_to_xtuner(row, "alpaca") == alpaca_map_fn(row)


@pytest.mark.parametrize(
    ("key", "part"),
    [
        ("问题", "input"), (" Question ", "input"), ("q", "input"), ("A", "output"), ("System_Prompt", "system"),
        ("标准答案", "output"), ("客户的问题", "input"), ("用户提问内容如下", "input"), ("用户提问的内容如下", None),
        ("问题和答案", None), ("内容", None), ("机器人回复", "output"), ("最终答复", "output"), ("questions", None),
    ],
)  # fmt: skip
def test_what_the_key_of_a_pair_holds(key, part):
    from lesson.data.formats import pair_part

    assert pair_part(key) == part


@pytest.mark.parametrize(
    ("row", "form"),
    [
        ({"conversation": 1, "messages": 1}, "xtuner"), ({"messages": 1, "conversations": 1}, "messages"), ({"conversations": 1}, "sharegpt"),
        ({"instruction": 1, "output": 1}, "alpaca"), ({"instruction": 1}, "alpaca"), ({"instruction": 1, "answer": 1}, "pairs"),
        ({"query": 1, "response": 1}, "swift"), ({"query": 1, "answer": 1}, "pairs"), ({"query": 1}, None), ({"output": 1}, None), ([], None), ("x", None),
    ],
)  # fmt: skip
def test_a_format_is_told_by_the_keys(row, form):
    assert detect_format(row) == form


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        ("[", "array"), ("\ufeff \t\r\n[1]", "array"), ("", ""), ("{}", ""), ("{}\n", ""), ("{}\n{}\n", ""), ("{\n", ""), ("{\n ", ""),
        ('{\n"a": 1}', "pretty-printed"), ('{"a":\n1}\n', "pretty-printed"), ('{"a": 1,\n"b"', "pretty-printed"), ('{"a": [\n1', "pretty-printed"),
        ('{"a": {\n"b"', "pretty-printed"), ('{"a": 1,\n{"b"', ""), ("{\n{", "pretty-printed"), ('{"a"\n"b"', ""), ("x\n{}", ""), ('{"a": 1} x\n{"b": 1}', ""),
        ("{ \n{", "pretty-printed"), ('{"a": [\n {', ""),
    ],
)  # fmt: skip
def test_a_document_is_told_by_its_first_lines(head, kind):
    from lesson.data.formats import detect_document

    assert detect_document(head) == kind
