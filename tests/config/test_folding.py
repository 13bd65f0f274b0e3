"""Values are what Python would compute, or Unknown."""

from __future__ import annotations

import pytest

from lesson.config.reading import parse_config
from lesson.config.summary import config_document


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("x = 2 * 3 ** 2 // 4 - -1.5", 5.5),
        ("x = [1]\ny = x\nx += [2]\nx = y", [1, 2]),
        ("x = 1\nif x > 0 and not x == 2:\n    x = 5\nelse:\n    x = 6", 5),
        ("x = 1\nif unknown:\n    x = 2", {"unknown": "if unknown: …"}),
        ("x = 3 if 'a' in ['a'] else 4", 3),
        ("x = dict(a=1, b=dict(c=(1, None)))['b']", {"c": [1, None]}),
        ("x = 9 ** 9 ** 9", {"unknown": "9 ** 9 ** 9"}),
        ("x = 'a' * 10 ** 9", {"unknown": "'a' * 10 ** 9"}),
        ("x = 1 / 0", {"unknown": "1 / 0"}),
        ("x = 1e999", {"unknown": "inf"}),
        ("x = 1j", {"unknown": "1j"}),
        ("x = '\\ud800'", "\\ud800"),
        ("x = b'a'", {"unknown": "b'a'"}),
    ],
)
def test_folding(source, value):
    assert config_document(parse_config(source.encode(), "x"))["values"]["x"] == value
