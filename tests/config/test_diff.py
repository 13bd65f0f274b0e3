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
