"""What differs between two configs, statement by statement."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from lesson.config import diff as config_diff

if find_spec("xtuner") is None:  # a small install, for checks only
    pytest.skip("XTuner is not installed", allow_module_level=True)
from configs import LESSON
from patched_configs import patch, stock


def test_unified_diff_has_headlines():
    before, after = stock(LESSON), patch(LESSON)
    text = config_diff.unified_diff(before, after, "stock", "patched")
    assert "-    dataset_map_fn=alpaca_map_fn,\n+    dataset_map_fn=None,\n" in text
    headlines = [c.headline() for c in config_diff.list_changes(before, after)]
    assert "alpaca_en.dataset_map_fn: alpaca_map_fn → None" in headlines
    assert config_diff.list_changes(before, before) == []


def test_an_import_that_came_or_went_is_a_change():
    changes = config_diff.list_changes("from a import b, c\nx = 1\n", "from a import b, c as d\nx = 1\n")
    assert sorted(c.headline() for c in changes) == ["+ from a import c as d", "- from a import c"]


def changes(before: str, after: str) -> list[tuple]:
    return [(c.path, c.before, c.after, c.line) for c in config_diff.list_changes(before, after)]


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ("a = 1", "a = 2", [("a", "1", "2", 1)]),
        ("a = 1", "a = 1\nb = 2", [("b", None, "2", 2)]),
        ("a = 1\nb = 2", "a = 1", [("b", "2", None, 2)]),
        ("a = 1\na = 2", "a = 1\na = 3", [("a (again)", "2", "3", 2)]),
        ("a = dict(b=1, c=2)", "a = dict(b=1,\n c=3)", [("a.c", "2", "3", 2)]),
        ("a = dict(b=dict(c=1))", "a = dict(b=dict(c=2, d=3))", [("a.b.c", "1", "2", 1), ("a.b.d", None, "3", 1)]),
        ("a = dict(b=1)", "a = dict(c=1)", [("a", "dict(b=1)", "dict(c=1)", 1)]),
        ("a = dict(b=1)", "a = 5", [("a", "dict(b=1)", "5", 1)]),
        ("a = 5", "a = dict(b=1)", [("a", "5", "dict(b=1)", 1)]),
        ("a = dict(b=1)", "a = dict(**c)", [("a", "dict(b=1)", "dict(**c)", 1)]),
        ("a = [dict(type=X, b=1), dict(b=2)]", "a = [dict(type=X, b=3), dict(b=2)]", [("a.[X].b", "1", "3", 1)]),
        (
            "a = [dict(type=X, b=1), dict(type=X, b=2)]",
            "a = [dict(type=X, b=1), dict(type=X, b=3)]",
            [("a.[1].b", "2", "3", 1)],
        ),
        ("a = [dict(z=1, type=X)]", "a = [dict(z=2, type=X)]", [("a.[X].z", "1", "2", 1)]),
        ("a = [dict(z=1)]", "a = [dict(z=2)]", [("a.[0].z", "1", "2", 1)]),
        ("a = [1]", "a = [2]", [("a", "[1]", "[2]", 1)]),
        ("a = dict(b=1)  # x", "a = dict(\n    b=1)", []),
    ],
)
def test_each_change_has_its_place_and_its_line(before, after, found):
    assert changes(before, after) == found
