"""JSON from strangers: what is wrong with a line has a name, a path and a column; nothing costs more than it is long."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lesson.core.strict_json import BROKEN, DEEPEST, child_path, find_path, find_paths, parse_strict_json


def problems(text: str) -> list[tuple[str, str, int | None]]:
    return [(p.rule, p.path, p.column) for p in parse_strict_json(text)[1]]


def test_sound_lines_have_no_problem():
    for text in (
        '{"a": [1, 2.5, "x", null, true], "b": {}}',
        "[]",
        '"x"',
        "3",
        '{"a": "\\u00e9"}',
        '{"a": {"b": 1}, "c": {"b": 1}}',
    ):
        assert parse_strict_json(text) == (json.loads(text), [])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"a": 1, "b": 2, "a": 3}', [("duplicate-key", "$.a", 18)]),
        ('{"o": {"k": 1, "k": 2}}', [("duplicate-key", "$.o.k", 16)]),
        ('[{"k": 1}, {"k": 1, "k": 2}]', [("duplicate-key", "$[1].k", 21)]),
        ('{"a b": 1, "a b": 2}', [("duplicate-key", '$["a b"]', 12)]),
        ('{"a": 1e999}', [("not-finite", "$.a", 7)]),
        ('{"a": 1.5, "b": 1e308}', []),
        ('{"a": NaN}', [("not-finite", "$.a", 7)]),
        ("[1, -Infinity, Infinity]", [("not-finite", "$[1]", 5), ("not-finite", "$[2]", 16)]),
        ('{"a": 1e999, "b": -1E999, "c": 1e3}', [("not-finite", "$.a", 7), ("not-finite", "$.b", 19)]),
        ('{"a": "x\\ud800y"}', [("lone-surrogate", "$.a", 7)]),
        ('{"a": "\\uDFFF"}', [("lone-surrogate", "$.a", 7)]),
        ('{"\\ud800": 1}', [("lone-surrogate", '$["\\ud800"]', 2)]),
        ('{"a": "\\ud83d\\ude00"}', []),
        ('\ufeff{"a": NaN}', [("bom", "", 1), ("not-finite", "$.a", 7)]),
    ],
)
def test_what_json_loads_lets_pass_has_a_name_and_a_place(text, found):
    assert problems(text) == found
    assert parse_strict_json(text)[0] is not BROKEN


@pytest.mark.parametrize(
    ("text", "column"), [("{", 2), ("", 1), ('{"a": }', 7), ("[1, 2", 6), ("{'a': 1}", 2), ('{"a": 1} x', 10)]
)
def test_what_is_no_json_has_the_column_of_the_decoder(text, column):
    assert parse_strict_json(text)[0] is BROKEN and problems(text) == [("bad-json", "", column)]


def test_levels_of_nesting_have_a_bound():
    deep = "[" * DEEPEST + "]" * DEEPEST
    assert problems(deep) == [] and problems("[" + deep + "]") == [("too-deep", "", DEEPEST + 1)]
    # Brackets in a text, or one after the other, are no levels.
    assert problems(json.dumps("[{" * 200)) == [] == problems("[" + ", ".join(["[]"] * 200) + "]")
    assert problems('{"a": ' * 65 + "1" + "}" * 65) == [("too-deep", "", 64 * 6 + 1)]
    assert problems("[" * 10**6)[0][0] == "too-deep"


def test_an_integer_of_thousands_of_digits_is_no_value():
    assert parse_strict_json("9" * 5000)[0] is BROKEN and problems("9" * 5000) == [("bad-json", "", None)]
    assert problems("9" * 4000) == []


def test_paths():
    assert child_path("$", 3) == "$[3]" and child_path("$.a", "b_1") == "$.a.b_1"
    assert (
        child_path("$", "名") == '$["\\u540d"]'
        and child_path("$", "a b") == '$["a b"]'
        and child_path("$", "1") == '$["1"]'
    )
    assert child_path("$", "x" * 60 + " ") == '$["' + "x" * 60 + '"]'


TEXT = '{"a": [10, {"b": [true, "x"]}], "c": {"d": null}, "e f": -2}'


@pytest.mark.parametrize(
    ("path", "value"),
    [("$", TEXT), ("$.a[0]", "10"), ("$.a[1].b[1]", '"x"'), ("$.c.d", "null"), ('$["e f"]', "-2"), ("$.a[1]", '{"b"')],
)
def test_a_path_leads_to_its_value(path, value):
    assert TEXT[find_path(TEXT, path) :].startswith(value)


def test_a_path_that_is_not_there_leads_nowhere():
    assert find_path(TEXT, "$.x") is find_path(TEXT, "$.a[2]") is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(JSON, st.booleans())
def test_any_value_is_read_as_json_reads_it_and_every_path_is_found(value, ascii_only):
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert parse_strict_json(text) == (value, [])

    def visit(item: object, path: str) -> None:
        assert json.JSONDecoder().raw_decode(text, find_path(text, path))[0] == item
        pairs = item.items() if isinstance(item, dict) else enumerate(item) if isinstance(item, list) else ()
        for key, inner in pairs:
            visit(inner, child_path(path, key))

    visit(value, "$")


def test_hostile_lines_take_no_longer_than_they_are():
    for text in (
        "[" * 10**6,
        '"' + "\\" * 10**6,
        "[" + "1," * 300_000,
        '{"a":' * 10**5,
        "1" * 10**6,
        '[NaN,"' + "a" * 10**6 + '"]',
    ):
        start = time.process_time()
        parse_strict_json(text)
        assert time.process_time() - start < 2, text[:20]


def test_sixty_four_levels_are_the_deepest():
    assert DEEPEST == 64
    for open_, close in ("[]", ('{"a":', "}")):
        inner = "1" if open_ != "[" else ""
        assert parse_strict_json(open_ * 64 + inner + close * 64)[1] == []
        value, [problem] = parse_strict_json(open_ * 65 + inner + close * 65)
        assert value is BROKEN and (problem.rule, problem.column) == ("too-deep", 64 * len(open_) + 1)
    beside = "[" + ", ".join(["[1]"] * 100) + "]"
    assert parse_strict_json(beside)[1] == [], "levels, not brackets"
    within = "[" * 63 + '"' + "[" * 9 + '"' + "]" * 63
    assert parse_strict_json(within)[1] == []


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ('{"a": {"b": [1, "x"], "c": 2}, "d": [{"e": 3}, []]}', {"$": 0, "$.a": 6, "$.a.b": 12, "$.a.b[0]": 13, "$.a.b[1]": 16, "$.a.c": 27, "$.d": 36, "$.d[0]": 37, "$.d[0].e": 43, "$.d[1]": 47}),
        ("[[1, 2], [3], 4]", {"$": 0, "$[0]": 1, "$[0][0]": 2, "$[0][1]": 5, "$[1]": 9, "$[1][0]": 10, "$[2]": 14}),
        ('{"a": "b", "c": "d"}', {"$": 0, "$.a": 6, "$.c": 16}),
        ("7", {"$": 0}),
        ('["a", "b"]', {"$": 0, "$[0]": 1, "$[1]": 6}),
    ],
)  # fmt: skip
def test_each_value_stands_at_its_path(text, places):
    assert find_paths(text) == places


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ('{"a": 1, "a": 2}', [("duplicate-key", "$.a", 10, "the key 'a' again")]),
        ('[{"a": 1}, {"a": 1}]', []),
        ('{"a": {"a": 1}}', []),
        ('{"b": {"a": 1, "a": 2}, "a": 1}', [("duplicate-key", "$.b.a", 16, "the key 'a' again")]),
        ('{"a": NaN, "b": -Infinity, "c": [1e999, -1E999, 1.5]}', [("not-finite", "$.a", 7, "NaN"), ("not-finite", "$.b", 17, "-Infinity"), ("not-finite", "$.c[0]", 34, "1e999"), ("not-finite", "$.c[1]", 41, "-1E999")]),
        ('["\\ud800", "\\uD83D\\uDE00", "\\udfff"]', [("lone-surrogate", "$[0]", 2, "\\ud800"), ("lone-surrogate", "$[2]", 28, "\\udfff")]),
        ('{"\\ud800": 1}', [("lone-surrogate", '$["\\ud800"]', 2, "\\ud800")]),
        ("\ufeff[NaN]", [("bom", "", 1, "a byte order mark"), ("not-finite", "$[0]", 2, "NaN")]),
        ('{"NaN": "NaN", "a": "1e999"}', []),
        ("123456789012345678901234567890", []),
    ],
)  # fmt: skip
def test_each_problem_has_its_place(text, problems):
    assert [(p.rule, p.path, p.column, p.found) for p in parse_strict_json(text)[1]] == problems


def test_what_is_near_a_fault_is_shown():
    [problem] = parse_strict_json('{"0123456789abcdef": x, "0123456789abcdefghij": 1}')[1]
    assert (problem.column, problem.found) == (22, 'Expecting value: …9abcdef": x, "0123456789abcdef…')
    [problem] = parse_strict_json("x" + "y" * 40)[1]
    assert problem.found == "Expecting value: …" + "x" + "y" * 19 + "…"
