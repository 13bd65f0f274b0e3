"""Made-up names."""

from __future__ import annotations

import random

from lesson.authoring.names import draw_character, draw_name


def test_names_are_of_many_kinds_and_the_same_for_a_seed():
    names = [draw_name(random.Random(seed)) for seed in range(500)]
    assert names == [draw_name(random.Random(seed)) for seed in range(500)]
    assert len(set(names)) > 480 and all(1 <= len(name.strip()) <= 16 for name in names)
    assert 0.1 < sum(name.isascii() for name in names) / len(names) < 0.4


def test_characters_are_chinese():
    random_ = random.Random(3)
    assert all("\u4e00" <= draw_character(random_, level) <= "\u9fff" for level in (1, 2) for _ in range(500))
