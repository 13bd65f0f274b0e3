"""What may be wrong with one row: each problem has its rule and its path, and what nearly is one has none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lesson.core.findings import ERROR
from lesson.data.row_rules import find_row_problems, find_shape_problems, is_citizen_number, quote_keys, texts_of

GOOD = {"input": "你是谁？", "output": "我是闻星。"}


def problems(row: object) -> list[tuple[str, str]]:
    return [(p.rule, p.path) for p in find_row_problems(row)]


def turn(**changes: object) -> dict:
    return {"conversation": [GOOD | changes]}


AT = "$.conversation[0]"


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ({"conversation": [GOOD]}, []),
        (turn(system="x"), []),
        (turn(system=None, input=None), []),
        (turn(output_with_loss=True), []),
        ({"conversation": [GOOD | {"output_with_loss": False}, GOOD]}, []),
        ([], [("wrong-type", "$")]),
        ({}, [("missing-key", "$.conversation")]),
        ({"text": "x"}, [("missing-key", "$.conversation")]),
        ({"conversation": [GOOD], "id": 1}, [("unknown-key", "$.id")]),
        ({"conversation": {}}, [("wrong-type", "$.conversation")]),
        ({"conversation": []}, [("empty-conversation", "$.conversation")]),
        ({"conversation": ["x", GOOD]}, [("wrong-type", AT)]),
        ({"conversation": [{}]}, [("missing-key", f"{AT}.input"), ("missing-key", f"{AT}.output")]),
        (turn(system=1), [("wrong-type", f"{AT}.system")]),
        (turn(input=["x"]), [("wrong-type", f"{AT}.input")]),
        (turn(output=None), [("wrong-type", f"{AT}.output")]),
        (turn(output={}), [("wrong-type", f"{AT}.output")]),
        (turn(output_with_loss=1), [("wrong-type", f"{AT}.output_with_loss")]),
        (turn(output_with_loss=False), [("untrained-row", "$.conversation")]),
        (turn(instruction="x"), [("unknown-key", f"{AT}.instruction")]),
        ({"conversation": [GOOD, GOOD | {"role": "x"}]}, [("unknown-key", "$.conversation[1].role")]),
        (turn(output=" \n"), [("blank-output", f"{AT}.output")]),
        (turn(input=" "), []),
        (turn(input="a\x00b"), [("control-character", f"{AT}.input")]),
        (turn(system="a\tb\r\nc"), []),
        (turn(output="我是闻\u202e星"), [("control-character", f"{AT}.output")]),
        (turn(output="我是{{name}}，很高兴认识你。"), [("placeholder-inside", f"{AT}.output")]),
        (turn(output="我是{{name}}，代码写作 `x`。"), []),
        (turn(input="我是{{name}}，你好。"), []),
        (turn(input="给我一个 jinja 模板", output="你好 {{name}}，再见。"), []),
        (turn(output="{{name}}"), [("placeholder", f"{AT}.output")]),
        (turn(output="写信给 a.b@example.org 吧"), [("personal-data", f"{AT}.output")]),
        (turn(output="a@b 不是"), []),
        (turn(output="电话 13812345678。"), [("personal-data", f"{AT}.output")]),
        (turn(output="编号 138123456789。"), []),
        (turn(output="身份证 11010519491231002X。"), [("personal-data", f"{AT}.output")]),
        (turn(output="身份证 110105194912310021。"), []),
    ],
)  # fmt: skip
def test_each_problem_has_its_rule_and_its_path(row, found):
    assert problems(row) == found


def test_instruction_is_an_error_in_a_turn_and_a_warning_beside_the_conversation():
    [inside] = find_shape_problems(turn(instruction="x"))
    [beside] = find_shape_problems({"conversation": [GOOD], "instruction": "x"})
    [other] = find_shape_problems(turn(id=3))
    assert (inside.severity, beside.severity, other.severity) == (ERROR, None, None)
    assert "system or input is meant" in inside.found and "meant" not in beside.found


@pytest.mark.parametrize(
    ("value", "kind"),
    [({}, "an object"), ([], "an array"), (True, "a truth value"), (1, "a number"), (0.5, "a number"), (None, "null")],
)
def test_a_wrong_type_is_named(value, kind):
    [problem] = find_shape_problems(turn(output=value))
    assert problem.found.startswith(f"{kind} where a string belongs") and (": " in problem.found) == (value is not None)


def test_keys_are_quoted_up_to_eight():
    assert quote_keys("abcdefgh") == "'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'"
    assert quote_keys("abcdefghi") == "'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h' …"
    [problem] = find_shape_problems({"question": 1, "answer": 2})
    assert problem.found == "no conversation: the keys are 'question', 'answer'"
    assert next(find_shape_problems({})).found == "no conversation"


def test_a_row_is_what_xtuner_makes_of_it():
    row = {
        "id": 1,
        "conversation": [
            {"output": "b", "x": 1, "input": None, "system": ""},
            {"system": "s", "input": "i", "output": "o"},
        ],
    }
    assert texts_of(row) == {
        "conversation": [{"input": "", "output": "b"}, {"system": "s", "input": "i", "output": "o"}]
    }
    assert list(texts_of(row)["conversation"][1]) == ["system", "input", "output"]


@given(st.text("0123456789", min_size=17, max_size=17))
def test_the_check_digit_is_that_of_iso_7064(digits):
    """GB 11643-1999 takes ISO 7064's MOD 11-2, computed here by its own recursion and not by weights."""
    rest = 0
    for digit in digits:
        rest = (rest + int(digit)) * 2 % 11
    check = "0123456789X"[(12 - rest) % 11]
    assert [c for c in "0123456789X" if is_citizen_number(digits + c)] == [check]
    assert is_citizen_number(digits + check.lower())


def test_a_wrong_value_is_shown_as_it_is_written():
    [problem] = [
        p for p in find_row_problems({"conversation": [{"input": ["闻星"], "output": "b"}]}) if p.rule == "wrong-type"
    ]
    assert problem.found == 'an array where a string belongs: ["闻星"]'
