"""A config as values: lines of what is deep inside, JSON of what was not folded, and values as users wrote them."""

from __future__ import annotations

import json

import pytest

from lesson.config.parsed import ParsedConfig, Ref, Unknown, as_json, show_value, walk_values
from lesson.config.reading import parse_config

SOURCE = """import torch
a = 1
b = dict(
    c=dict(
        d=2,
        e=[1, dict(f=3)],
    ),
    g=a,
)
"""
CONFIG = parse_config(SOURCE.encode(), "x.py")


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("a", 2),
        ("a.b", 2),
        ("b", 3),
        ("b.x", 3),
        ("b.x.d", 3),
        ("b.x.c", 3),  # `c` is there, but not below `x`
        ("b.c", 4),
        ("b.c.d", 5),
        ("b.c.d.e", 5),
        ("b.c.x", 4),
        ("b.c.x.e", 4),
        ("b.c.e.f", 6),
        ("b.g", 2),
        ("gone", 1),
        ("gone.b", 1),
    ],
)
def test_the_line_of_a_path_is_that_of_the_innermost_key_that_is_there(path, line):
    assert CONFIG.line(path) == line


def test_a_value_at_a_path_or_the_default():
    assert CONFIG.get("b.c.d") == 2 and CONFIG.get("a") == 1
    assert CONFIG.get("b.c.x") is None and CONFIG.get("b.x.d", 7) == CONFIG.get("a.x", 7) == CONFIG.get("x", 7) == 7


def test_every_value_is_walked_with_the_key_and_line_that_hold_it():
    walked = [(key, value, line) for key, value, line in walk_values(CONFIG) if not isinstance(value, dict | list)]
    assert sorted(walked, key=str) == [("a", 1, 2), ("d", 2, 5), ("e", 1, 6), ("f", 3, 6), ("g", 1, 2)]


@pytest.mark.parametrize(
    ("value", "as_written"),
    [
        (Ref("torch.x"), {"ref": "torch.x"}),
        (Unknown("f()"), {"unknown": "f()"}),
        ({1: (2, [Ref("a")])}, {"1": [2, [{"ref": "a"}]]}),
        (float("nan"), {"unknown": "nan"}),
        (float("inf"), {"unknown": "inf"}),
        (float("-inf"), {"unknown": "-inf"}),
        (1.5, 1.5),
        (True, True),
        (None, None),
        ("\ud800闻", "\\ud800闻"),
    ],
)
def test_values_as_json(value, as_written):
    assert as_json(value) == as_written
    json.dumps(as_json(value), allow_nan=False).encode()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Ref("torch.float16"), "torch.float16"),
        (Unknown("f(1)"), "f(1)"),
        ((1,), "(1,)"),
        ((1, "a"), "(1, 'a')"),
        ((), "()"),
        ([1, Ref("a")], "[1, {'ref': 'a'}]"),
        ("a" * 78, "'" + "a" * 78 + "'"),
        ("a" * 79, "'" + "a" * 78 + "…"),
        (Unknown("b" * 80), "b" * 80),
        (Unknown("b" * 81), "b" * 79 + "…"),
        ((10,) * 100, ("(" + "10, " * 100)[:79] + "…"),
    ],
)
def test_a_value_is_shown_as_it_was_written_in_80_characters(value, text):
    assert show_value(value) == text


def test_what_is_no_python_or_too_deep_has_no_hash():
    assert ParsedConfig("x.py").ast_sha256() is None
    same = [ParsedConfig("x.py", source=source).ast_sha256() for source in ("a = 1\n", "a=1  # so", "a = 2")]
    assert same[0] == same[1] != same[2] and len(same[0]) == 64
    assert ParsedConfig("x.py", source="x = 1" + " + 1" * 2000).ast_sha256() is None
