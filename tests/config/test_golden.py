"""The goldens of configs and data are current, and a stock config that moved is told."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

if find_spec("xtuner") is None:  # a small install, for checks only
    pytest.skip("XTuner is not installed", allow_module_level=True)
from configs import LESSON
from patched_configs import stock

from lesson.config import golden
from lesson.config.drift import list_stock_changes


@pytest.mark.parametrize("kind", golden.KINDS)
@pytest.mark.slow
def test_goldens_are_current(kind):
    assert list(golden.differences(kind)) == []


def test_upstream_change_names_the_statements():
    source = stock(LESSON).replace("max_norm = 1 ", "max_norm = 2 ").replace("上海的景点", "北京的景点")
    text = "\n".join(list_stock_changes(LESSON, source, "7b"))
    assert "max_norm: 1 → 2" in text and "北京" in text and "weight_decay" not in text
    assert list_stock_changes(LESSON, stock(LESSON), "7b") == []
