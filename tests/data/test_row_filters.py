"""Rows whose keys stand in another order, or have more of them: every rule of whole files looks at them as well."""

from __future__ import annotations

import io
import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lesson.bench.published_script import replace_bytes
from lesson.core.findings import Findings
from lesson.data.replace import Replacer
from lesson.data.row_filters import usual_order
from lesson.data.rows import CANONICAL_ROWS, REORDERED_ROWS, Block
from lesson.data.rules import ROW_RULES
from lesson.data.validator import Validator, validate_stream

ORDERS = list(itertools.permutations(("system", "input", "output")))
KEYS = st.sampled_from([*ORDERS, ("input", "output"), ("output", "input")])
TEXT = st.text(alphabet='尖米n"\\\n{},: }', max_size=6)
TURN = KEYS.flatmap(
    lambda keys: st.tuples(*(TEXT for _ in keys)).map(lambda texts: dict(zip(keys, texts, strict=True)))
)
ROW = st.lists(TURN, min_size=1, max_size=3).map(lambda turns: {"conversation": turns})


def check(rows, name="尖米", **options):
    """(validator, [(rule, line)]) of the rows."""
    data = "".join(json.dumps(row, ensure_ascii=False, **options) + "\n" for row in rows)
    findings = Findings(ROW_RULES)
    validator = Validator("f", findings, [name], near=False, tokens=len, max_length=40)
    validate_stream(io.BytesIO(data.encode()), validator)
    return validator, [(f.rule, f.line) for f in findings.sorted()]


def turned(rows, keys):
    return [{"conversation": [{key: turn[key] for key in keys} for turn in row["conversation"]]} for row in rows]


PROMPT = "你是尖米。"
SEEN = [
    *({"conversation": [{"system": PROMPT, "input": f"问{i}", "output": f"我是尖米{i}"}]} for i in range(120)),
    {"conversation": [{"system": PROMPT, "input": "你是谁？", "output": "我是小明。"}]},
    {"conversation": [{"system": PROMPT, "input": "你是谁？", "output": "我是尖米。"}]},
    {"conversation": [{"system": "另一个", "input": "问", "output": "尖米" * 30}]},
    {"conversation": [{"system": PROMPT, "input": "问1", "output": "我是尖米1"}]},
]
EXPECTED = {"name-missing", "name-conflict", "name-rare", "too-many-tokens", "odd-system", "duplicate-row"}


@pytest.mark.parametrize("keys", ORDERS)
@pytest.mark.parametrize("options", [{}, {"separators": (",", ":")}, {"ensure_ascii": True}])
def test_every_order_gets_the_findings_and_counts_of_the_usual_one(keys, options):
    usual, expected = check(SEEN)
    assert {rule for rule, _ in expected} == EXPECTED
    options = {"ensure_ascii": False, **options}
    data = "".join(json.dumps(row, **options) + "\n" for row in turned(SEEN, keys))
    findings = Findings(ROW_RULES)
    validator = Validator("f", findings, ["尖米"], near=False, tokens=len, max_length=40)
    validate_stream(io.BytesIO(data.encode()), validator)
    assert [(f.rule, f.line) for f in findings.sorted()] == expected
    counted = (validator.rows, validator.turns, validator.distinct_questions, validator.repeats)
    assert counted == (usual.rows, usual.turns, usual.distinct_questions, usual.repeats) == (124, 124, 122, 1)


@pytest.mark.parametrize("more", [{"id": 7}, {"category": "a", "id": None}])
@pytest.mark.parametrize("in_turn", [{}, {"output_with_loss": True}, {"weight": 1}])
def test_more_keys_keep_no_rule_away(more, in_turn):
    rows = [{**more, "conversation": [{**row["conversation"][0], **in_turn}]} for row in SEEN]
    validator, found = check(rows)
    ignored = len(more) + ("weight" in in_turn)
    assert {rule for rule, _ in found} == EXPECTED | {"unknown-key"}
    assert [line for rule, line in found if rule == "unknown-key"] == [1] * ignored  # each key once a file
    assert (validator.turns, validator.distinct_questions, validator.repeats) == (124, 122, 1)


def test_the_same_row_in_two_orders_is_a_repeat():
    rows = [SEEN[0], *turned(SEEN[:1], ORDERS[3])]
    assert check(rows)[1] == [("duplicate-row", 1)]


def test_beyond_the_rows_that_are_remembered_the_counts_and_findings_stay(monkeypatch):
    monkeypatch.setattr("lesson.data.validator.REMEMBERED", 50)
    for keys in (ORDERS[0], ORDERS[3]):
        rows = turned(
            [*SEEN[:100], *SEEN[:3], {"conversation": [{**SEEN[0]["conversation"][0], "output": "xxx"}]}], keys
        )
        findings = Findings(ROW_RULES)
        validator = Validator("f", findings, ["尖米"], near=False)
        for start in range(0, len(rows), 25):  # as blocks of a large file come
            text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows[start : start + 25])
            validator.check_block(start + 1, Block(text.encode()))
        validator.finish()
        assert (validator.rows, validator.turns, validator.repeats) == (104, 104, 3)
        assert ("placeholder", 104) in [(f.rule, f.line) for f in findings.kept]


@settings(max_examples=150, deadline=None)
@given(st.lists(ROW, min_size=1, max_size=4))
def test_any_order_is_proven_and_replaced_as_text(rows):
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    assert REORDERED_ROWS.fullmatch(text)
    for old in ("尖米", "n", "尖", "input"):
        assert Replacer([(old, "x")]).replace_block(Block(text.encode()), "f", 1) == replace_bytes(
            text.encode(), old, "x"
        )
    for row, line in zip(rows, usual_order(text).split("\n"), strict=False):
        assert json.loads(line) == row
        later = any("system" in turn for turn in row["conversation"][1:])
        assert later or CANONICAL_ROWS.fullmatch(line + "\n")


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet='{}[]:, "conversatiinputoutputsystem\\nu0016f\n', max_size=60))
def test_text_that_matches_is_what_json_writes(text):
    for prefix in ("", '{"conversation": [{"output": "', '{"conversation": [{"output": "a", "system": "b", "input": "'):
        matched = REORDERED_ROWS.match(prefix + text).group()
        for line in matched.split("\n")[:-1]:
            assert json.dumps(json.loads(line), ensure_ascii=False) == line
