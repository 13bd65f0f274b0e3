"""Rows turned into another format: what they become, and what is said of those that have no place there."""

from __future__ import annotations

import collections

import pytest

from lesson.data.conversion import Unconvertible, convert_from_xtuner, convert_leniently, convert_to_xtuner, other_keys

MESSAGES = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]


def becomes(row: object, source: str, drop=frozenset()) -> object:
    """The turns that a row becomes; (path, what was found, keys in the way) where it cannot."""
    try:
        return convert_to_xtuner(row, source, drop)["conversation"]
    except Unconvertible as error:
        return error.path, error.found, error.keys


def message(*turns: str, **more) -> list[dict]:
    """Messages written "u:text", "a:text" or "s:text"."""
    roles = {"u": "user", "a": "assistant", "s": "system", "x": "tool"}
    return [{"role": roles[turn[0]], "content": turn[2:], **more} for turn in turns]


@pytest.mark.parametrize(
    ("row", "source", "made"),
    [
        ({"instruction": "a", "output": "b"}, "alpaca", [{"input": "a", "output": "b"}]),
        ({"instruction": "a", "input": "c", "output": "b"}, "alpaca", [{"input": "a\nc", "output": "b"}]),
        ({"instruction": "a", "input": "", "output": "b"}, "alpaca", [{"input": "a", "output": "b"}]),
        ({"instruction": "a", "input": None, "output": "b", "history": ""}, "alpaca", [{"input": "a", "output": "b"}]),
        ({"instruction": "a", "output": "<nooutput>"}, "alpaca", []),
        ({"query": "a", "response": "<nooutput>"}, "swift", [{"input": "a", "output": "<nooutput>"}]),
        ({"query": "a", "response": "b", "system": "s"}, "swift", [{"system": "s", "input": "a", "output": "b"}]),
        ({"query": "a", "response": "b", "system": None}, "swift", [{"input": "a", "output": "b"}]),
        ({"query": "a", "response": "b", "history": None}, "swift", [{"input": "a", "output": "b"}]),
        (
            {"query": "c", "response": "d", "history": [["a", "b"]], "system": "s"},
            "swift",
            [{"system": "s", "input": "a", "output": "b"}, {"input": "c", "output": "d"}],
        ),
        ({"messages": MESSAGES}, "messages", [{"input": "a", "output": "b"}]),
        ({"messages": []}, "messages", []),
        ({"messages": message("a:hi", "u:a", "a:b")}, "messages", [{"input": "a", "output": "b"}]),
        ({"messages": message("a:hi", "u:a", "a:b"), "system": "s"}, "messages", [{"system": "s", "input": "", "output": "hi"}, {"input": "a", "output": "b"}]),
        ({"messages": message("u:a", "u:c", "a:b")}, "messages", [{"input": "ac", "output": "b"}]),
        ({"messages": message("s:s", "u:a", "a:b")}, "messages", [{"system": "s", "input": "a", "output": "b"}]),
        ({"messages": message("s:s", "a:b")}, "messages", [{"system": "s", "input": "", "output": "b"}]),
        ({"messages": message("u:a", "a:b", "s:t", "u:c", "a:d")}, "messages", [{"input": "a", "output": "b"}, {"system": "t", "input": "c", "output": "d"}]),
        ({"messages": message("u:a", "a:b", "a:c")}, "messages", [{"input": "a", "output": "b"}, {"input": "", "output": "c"}]),
        ({"messages": message("u:a", "a:b", loss=False)}, "messages", [{"input": "a", "output": "b", "output_with_loss": False}]),
        ({"messages": message("u:a", "a:b", loss="TRUE")}, "messages", [{"input": "a", "output": "b"}]),
        ({"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}, "sharegpt", [{"input": "a", "output": "b"}]),
    ],
)  # fmt: skip
def test_what_a_row_becomes(row, source, made):
    assert becomes(row, source) == made


@pytest.mark.parametrize(
    ("row", "source", "path", "found"),
    [
        ([], "alpaca", "$", "[] where an object belongs"),
        ({"instruction": "a"}, "alpaca", "$.output", "None where a string belongs"),
        ({"output": "a"}, "alpaca", "$.instruction", "None where a string belongs"),
        ({"instruction": "a", "input": 3, "output": "b"}, "alpaca", "$.input", "3 where a string belongs"),
        ({"instruction": "a", "output": "b", "system": 3}, "alpaca", "$.system", "3 where a string belongs"),
        ({"instruction": "a", "output": "b", "history": "x"}, "alpaca", "$.history", "'x' where an array belongs"),
        ({"instruction": "a", "output": "b", "history": ["x"]}, "alpaca", "$.history[0]", "'x' where an array belongs"),
        ({"instruction": "a", "output": "b", "history": [["c", "d"], ["x"]]}, "alpaca", "$.history[1]", "not a question and its answer"),
        ({"instruction": "a", "output": "b", "history": [["c", "d", "e"]]}, "alpaca", "$.history[0]", "not a question and its answer"),
        ({"instruction": "a", "output": "b", "history": [["c", 3]]}, "alpaca", "$.history[0][1]", "3 where a string belongs"),
        ({"messages": 3}, "messages", "$.messages", "3 where an array belongs"),
        ({"messages": [3]}, "messages", "$.messages[0]", "3 where an object belongs"),
        ({"messages": MESSAGES, "system": 3}, "messages", "$.system", "3 where a string belongs"),
        ({"messages": [{"role": 3, "content": "a"}]}, "messages", "$.messages[0].role", "3 where a string belongs"),
        ({"messages": [{"role": "user", "content": []}]}, "messages", "$.messages[0].content", "[] where a string belongs"),
        ({"messages": [*MESSAGES, {"role": "tool", "content": ""}]}, "messages", "$.messages[2].role", "the role 'tool'"),
        ({"messages": message("u:a", "s:s", "a:b")}, "messages", "$.messages[1].role", "'system' out of turn"),
        ({"messages": message("s:s", "s:s", "u:a", "a:b")}, "messages", "$.messages[1].role", "'system' out of turn"),
        ({"messages": message("u:a", "a:b", "s:s")}, "messages", "$.messages[2].role", "nothing comes after the system prompt"),
        ({"messages": message("u:a", "a:b", "u:c")}, "messages", "$.messages", "the last message has no answer"),
        ({"messages": message("u:a")}, "messages", "$.messages", "the last message has no answer"),
        ({"messages": message("a:b")}, "messages", "$.messages[0].role", "no question and answer"),
        ({"messages": message("s:s")}, "messages", "$.messages[0].role", "no question and answer"),
        ({"conversations": [{"from": "gpt", "value": "b"}]}, "sharegpt", "$.conversations[0].from", "no question and answer"),
        ({"messages": message("u:a", "a:b", loss="no")}, "messages", "$.messages[1].loss", "no where true or false belongs"),
    ],
)  # fmt: skip
def test_what_is_no_row_of_its_format_is_told_at_its_place(row, source, path, found):
    assert becomes(row, source) == (path, found, {})


def test_keys_without_a_place_are_told_together_and_may_be_dropped():
    row = {"id": 1, "messages": [{**MESSAGES[0], "name": "x"}, {**MESSAGES[1], "loss": True, "name": "y"}], "tag": 2}
    keys = {"id": "$.id", "tag": "$.tag", "name": "$.messages[0].name"}
    path, found, named = becomes(row, "messages")
    assert (path, named) == ("$.id", keys) and found.startswith("no place for ") and "name" in found
    assert becomes(row, "messages", {"id", "tag"})[2] == {"name": "$.messages[0].name"}
    assert becomes(row, "messages", {"id", "tag", "name"}) == [{"input": "a", "output": "b"}]
    assert becomes({"query": "a", "response": "b", "input": "c"}, "swift")[2] == {"input": "$.input"}


def test_what_xtuner_leaves_out_is_counted():
    left: collections.Counter[str] = collections.Counter()
    convert_to_xtuner({"messages": message("a:x", "a:y", "u:a", "a:b", "a:c")}, "messages", left_out=left)
    convert_to_xtuner({"instruction": "a", "output": "<nooutput>"}, "alpaca", left_out=left)
    assert left == {"opening": 2, "no output": 1}


def test_what_training_ignores_goes_from_rows_that_are_read_leniently():
    assert convert_leniently({"id": 1, "query": "a", "response": "b"}, "swift") == {
        "conversation": [{"input": "a", "output": "b"}]
    }
    assert other_keys({"id": 1, "messages": [], "system": "s", "x": 2}, "messages", {"x"}) == {"id": 1}
    assert other_keys({"id": 1, "conversation": []}, "xtuner", frozenset()) == {}
    assert other_keys({"id": 1, "instruction": "", "input": "", "history": []}, "alpaca", frozenset()) == {"id": 1}
    assert other_keys({"问题": "a", "答案": "b", "id": 1}, "pairs", frozenset()) == {"id": 1}


def test_keys_of_xtuner_s_own_rows_go_when_they_are_dropped():
    row = {"id": 1, "conversation": [{"input": "a", "output": "b", "id": 2}, 3], "x": 4}
    assert convert_to_xtuner(row, "xtuner") == row
    assert convert_to_xtuner(row, "xtuner", {"id"}) == {"conversation": [{"input": "a", "output": "b"}, 3], "x": 4}
    assert convert_to_xtuner({"id": 1, "conversation": 3}, "xtuner", {"id"}) == {"conversation": 3}


@pytest.mark.parametrize(
    ("row", "turn"),
    [
        ({"question": "a", "answer": "b"}, {"input": "a", "output": "b"}),
        ({"instruction": "a", "input": "c", "answer": "b"}, {"input": "a\nc", "output": "b"}),
        ({"system": "s", "question": "a", "answer": "b"}, {"system": "s", "input": "a", "output": "b"}),
        ({"system": None, "question": "a", "answer": "b"}, {"input": "a", "output": "b"}),
        ({"instruction": "a", "input": "", "answer": "b"}, {"input": "a", "output": "b"}),
    ],
)
def test_a_pair_has_up_to_two_parts_of_a_question(row, turn):
    assert becomes(row, "pairs") == [turn]


@pytest.mark.parametrize(
    ("row", "path", "found"),
    [
        ({"question": "a", "answer": None}, "$.answer", "None where a string belongs"),
        ({"question": 3, "answer": "b"}, "$.question", "3 where a string belongs"),
        ({"question": "a", "answer": "b", "output": "c"}, "$.output", "a second output"),
        ({"instruction": "a", "input": "b", "question": "c", "answer": "d"}, "$.question", "a second input"),
    ],
)
def test_what_is_no_pair_is_told(row, path, found):
    assert becomes(row, "pairs") == (path, found, {})


def written(row: object, target: str, drop=frozenset()) -> object:
    try:
        return convert_from_xtuner(row, target, drop)
    except Unconvertible as error:
        return error.path, error.found, error.keys


def turns(*turns: dict) -> dict:
    return {"conversation": list(turns)}


PLAIN = {"input": "a", "output": "b"}


@pytest.mark.parametrize(
    ("row", "target", "made"),
    [
        (turns(PLAIN), "alpaca", {"instruction": "a", "input": "", "output": "b"}),
        (turns({"input": None, "output": "b"}), "alpaca", {"instruction": "", "input": "", "output": "b"}),
        (turns({"system": "s", **PLAIN}), "alpaca", {"instruction": "a", "input": "", "output": "b", "system": "s"}),
        (turns({"system": None, **PLAIN}), "alpaca", {"instruction": "a", "input": "", "output": "b"}),
        (turns({"system": "", **PLAIN}), "alpaca", {"instruction": "a", "input": "", "output": "b", "system": ""}),
        (turns({"input": "c", "output": "d"}, PLAIN), "alpaca", {"instruction": "a", "input": "", "output": "b", "history": [["c", "d"]]}),
        (turns({"input": None, "output": "d"}, {"system": "", **PLAIN}), "alpaca", {"instruction": "a", "input": "", "output": "b", "history": [["", "d"]]}),
        (turns({"system": "s", **PLAIN}), "messages", {"messages": message("s:s", "u:a", "a:b")}),
        (turns({"system": None, "input": None, "output": "b"}), "messages", {"messages": message("u:", "a:b")}),
        (turns({"output_with_loss": False, **PLAIN}), "messages", {"messages": [MESSAGES[0], {**MESSAGES[1], "loss": False}]}),
        (turns({"output_with_loss": True, **PLAIN}), "messages", {"messages": MESSAGES}),
        (turns(PLAIN), "sharegpt", {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}),
        (turns(), "messages", {"messages": []}),
        ({"x": 1}, "xtuner", {"x": 1}),
    ],
)  # fmt: skip
def test_what_xtuner_s_rows_become(row, target, made):
    assert written(row, target) == made


@pytest.mark.parametrize(
    ("row", "target", "path", "found"),
    [
        (3, "xtuner", "$", "3 where an object belongs"),
        ({}, "alpaca", "$.conversation", "None where an array belongs"),
        (turns(), "alpaca", "$.conversation", "no turns"),
        (turns(3), "messages", "$.conversation[0]", "3 where an object belongs"),
        (turns({"output": "b"}), "messages", "$.conversation[0].input", "None where a string belongs"),
        (turns({"input": "a"}), "messages", "$.conversation[0].output", "None where a string belongs"),
        (turns({"input": "a", "output": None}), "messages", "$.conversation[0].output", "None where a string belongs"),
        (turns({"system": 3, **PLAIN}), "messages", "$.conversation[0].system", "3 where a string belongs"),
        (turns({"output_with_loss": 1, **PLAIN}), "messages", "$.conversation[0].output_with_loss", "1 where true or false belongs"),
        (turns(PLAIN, {"system": "s", **PLAIN}), "alpaca", "$.conversation[1].system", "a system prompt in a later turn, Alpaca has one"),
    ],
)  # fmt: skip
def test_what_has_no_place_in_the_other_format_is_told(row, target, path, found):
    assert written(row, target) == (path, found, {})


def test_what_may_be_lost_is_lost_when_it_is_dropped():
    loss = {"output_with_loss": "$.conversation[1].output_with_loss"}
    row = turns({"system": "s", **PLAIN}, {"output_with_loss": False, "system": "t", **PLAIN})
    for target in ("alpaca", "sharegpt"):
        assert written(row, target, {"system"})[2] == loss
    made = written(row, "alpaca", {"system", "output_with_loss"})
    assert made == {"instruction": "a", "input": "", "output": "b", "history": [["a", "b"]]}
    assert len(written(row, "sharegpt", {"output_with_loss"})["conversations"]) == 6
    assert len(written(row, "sharegpt", {"output_with_loss", "system"})["conversations"]) == 4
    odd = {"id": 1, "conversation": [{"weight": 2, **PLAIN}]}
    assert written(odd, "messages")[2] == {"id": "$.id", "weight": "$.conversation[0].weight"}
    assert written(odd, "messages", {"id", "weight"}) == {"messages": MESSAGES}


def test_the_key_that_is_told_is_the_first_message_s():
    mixed = [{"from": "gpt", "value": "a"}, {"role": "assistant", "content": "b"}]
    assert becomes({"messages": mixed}, "messages")[0] == "$.messages[0].from"
    assert becomes({"messages": mixed[::-1]}, "messages")[0] == "$.messages[0].role"
