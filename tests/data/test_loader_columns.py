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
