"""Rows that the loader of the training would stop at are told by make data."""

from __future__ import annotations

import json

import pytest

from lesson.data.loader_columns import CHUNK, LoaderColumns, type_of

LONG = {"input": "a" * 5000, "output": "b" * 5000}


def C(*turns, **keys):
    return {"conversation": list(turns), **keys}


# (a row of the first 11 MB, a row behind them, whether the loader stops)
CASES = [
    (C(LONG), C({"system": "s", **LONG}), True),
    (C({"system": "s", **LONG}), C(LONG), False),
    (C(LONG), C({**LONG, "output_with_loss": False}), True),
    (C(LONG), C(LONG, id=1), True),
    (C(LONG, id=None), C(LONG, id="x"), True),
    (C(LONG, id="x"), C(LONG, id=None), False),
    (C(LONG, id="x"), C(LONG, id={"a": 1}), False),
    (C(LONG, id=1), C(LONG, id="x"), True),
    (C(LONG, id=[1]), C(LONG, id=["x"]), True),
    (C({**LONG, "system": None}), C({**LONG, "system": "s"}), True),
    (C(LONG), C({"output": "b", "input": "a"}), False),
]


def told(early, late):
    columns, found = LoaderColumns(), []
    for row in (early, late):
        text = json.dumps(row) + "\n"
        times = CHUNK // len(text) + 2 if row is early else 1
        plain = row.keys() == {"conversation"} and {*row["conversation"][0].values()} <= {"s", "a", "b", *LONG.values()}
        for _ in range(times):
            found += columns.take_canonical(text, len(text)) if plain else columns.take_row(row, len(text))
    return [problem.rule for _, problem in found]


@pytest.mark.parametrize(("early", "late", "stops"), CASES)
def test_what_comes_late_is_told_once(early, late, stops):
    assert told(early, late) == ["late-key"] * stops


def test_a_key_of_plain_rows_that_comes_late_is_told():
    columns, row = LoaderColumns(), C(LONG)
    text = json.dumps(row) + "\n"
    for _ in range(CHUNK // len(text) + 2):
        assert columns.take_plain(text, row, len(text)) == []
    for _ in range(2):
        found = columns.take_plain(text, {**row, "id": 7}, len(text))
    assert found == [] and columns.take_plain(text, {**row, "tag": 7}, len(text))[0][1].rule == "late-key"


def test_types():
    assert type_of({"b": [1, "x", 2], "a": None}) == "{a: null, b: [a whole number, text]}"
    value = 1
    for _ in range(50):
        value = [value]
    assert type_of(value) == "[[[[more]]]]"


@pytest.mark.torch
@pytest.mark.slow
def test_the_loader_stops_where_we_say(tmp_path, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    for number, (early, late, stops) in enumerate(CASES):
        path = tmp_path / f"{number}.jsonl"
        text = json.dumps(early) + "\n"
        path.write_text(text * (CHUNK // len(text) + 9) + json.dumps(late) + "\n", encoding="utf-8")

        def load(path=path):
            return datasets.load_dataset("json", data_files=str(path), cache_dir=str(tmp_path / "cache"))

        if stops:
            with pytest.raises(Exception, match=r"while generating|cast"):
                load()
        else:
            load()


def rules(found: list) -> list[tuple]:
    return [(index, problem.path, problem.found) for index, problem in found]


def test_ten_mebibytes_are_the_first_piece_and_the_next_byte_is_not():
    assert CHUNK == 10 * 1024 * 1024
    for size, told in (
        (CHUNK, []),
        (CHUNK + 1, [(0, "$", "the key 'id' with a whole number appears only after 10 MiB")]),
    ):
        assert rules(LoaderColumns().take_row(C(LONG, id=1), size))[-1:] == (told or [])


def test_canonical_rows_that_end_with_the_first_piece_belong_to_it():
    for size, told in ((CHUNK, 0), (CHUNK + 1, 1)):
        columns = LoaderColumns()
        columns.take_canonical("", size)
        assert len(columns.take_row(C({"input": 5}), 1)) == told


def late(*early: dict) -> LoaderColumns:
    """What was seen of the first rows; what comes now is behind the first piece."""
    columns = LoaderColumns()
    for row in early:
        columns.take_row(row, 1)
    columns.take_row(early[-1], CHUNK)
    return columns


def test_a_late_key_is_told_with_its_row_its_place_and_its_type():
    columns = late(C({"input": "a", "output": "b"}))
    text = (
        '{"conversation": [{"input": "a", "output": "b"}]}\n' * 2
        + '{"conversation": [{"system": "s", "input": "a", "output": "b"}]}\n'
    )
    told = [(2, "$.conversation", "the key 'system' with text appears only after 10 MiB")]
    assert rules(columns.take_canonical(text, 9)) == told and columns.take_canonical(text, 9) == []
    columns = late(C({"input": "a", "output": "b"}))
    assert rules(columns.take_canonical(text.split("\n")[2] + "\n", 9)) == [(0, *told[0][1:])]
    assert rules(late(C(LONG)).take_row(C({"output_with_loss": True, **LONG}), 9)) == [
        (0, "$.conversation", "the key 'output_with_loss' with true or false appears only after 10 MiB")
    ]
    columns = late(C(LONG))
    assert rules(columns.take_plain(text, C(LONG, zebra=[1.5], aim=None), 9))[1:] == [
        (0, "$", "the key 'zebra' with [a number] appears only after 10 MiB"),
        (0, "$", "the key 'aim' with null appears only after 10 MiB"),
    ]


def test_canonical_rows_of_the_first_piece_have_text_in_both_keys():
    for key in ("input", "output"):
        columns = LoaderColumns()
        columns.take_canonical("", 1)
        columns.take_canonical("", CHUNK)
        assert columns.take_row(C({key: "late"}), 1) == [] and columns.take_row(C({key: 5}), 1) == []


@pytest.mark.parametrize(
    ("early", "value", "told"),
    [
        ([1], 2, False),
        ([1], "x", True),
        ([1], 1.5, True),
        ([1], None, False),
        ([None], None, False),
        ([None], 1, True),
        ([1, 1.5], True, False),
        ([None, 1], True, True),
        (["x"], [1], False),
        ([{"a": 1}], {"a": 2}, False),
        ([{"a": 1}], {"a": "x"}, True),
        ([{"a": 1}], {"b": 1}, True),
    ],
)
def test_a_type_that_the_first_piece_does_not_have_is_told(early, value, told):
    columns = late(*(C(LONG, id=each) for each in early))
    assert bool(columns.take_row(C(LONG, id=value), 1)) is told


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("a", "text"),
        (True, "true or false"),
        (1, "a whole number"),
        (1.0, "a number"),
        (None, "null"),
        ([], "[]"),
        ({}, "{}"),
        ([1, 2, "x"], "[a whole number, text]"),
        ({"a": {"b": {"c": {"d": {"e": 1}}}}}, "{a: {b: {c: {d: more}}}}"),
        ({"a": {"b": {"c": {"d": 1}}}}, "{a: {b: {c: {d: a whole number}}}}"),
        ([[[[1]]]], "[[[[a whole number]]]]"),
        ([[[[[1]]]]], "[[[[more]]]]"),
    ],
)
def test_types_are_told_four_levels_deep(value, name):
    assert type_of(value) == name
