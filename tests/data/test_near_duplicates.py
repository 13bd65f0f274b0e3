"""Rows that are nearly the same, at the borders of what is compared."""

from __future__ import annotations

import pytest

from lesson.data.near_duplicates import COMPARABLE, COMPARED_TEXT, NearDuplicates


def text(start: int, length: int) -> str:
    """So many characters of which no two trigrams are alike."""
    return "".join(chr(0x4E00 + start + n) for n in range(length))


def pairs(*texts: str) -> list[tuple[int, int, float]]:
    found = NearDuplicates()
    for number, each in enumerate(texts, 1):
        found.add_text(number, each)
    return [(line, twin, round(share, 3)) for line, twin, share in found.find_pairs()]


def test_texts_are_compared_from_sixty_characters_on():
    assert pairs(text(0, COMPARABLE), text(0, COMPARABLE)) == [(2, 1, 1.0)]
    assert pairs(text(0, COMPARABLE - 1), text(0, COMPARABLE - 1)) == [] == pairs(text(0, 99))


def test_two_texts_are_near_from_nine_tenths_on():
    for common, other, near in ((182, 20, True), (182, 24, False)):
        one, two = text(0, common), text(0, common) + text(5000, other)
        share = (common - 2) / (common + other - 2)
        assert pairs(one, two) == ([(2, 1, round(share, 3))] if near else []), share


def test_only_the_first_two_thousand_characters_are_compared():
    head = text(0, COMPARED_TEXT)
    assert pairs(head, head + text(9000, 900)) == [(2, 1, 1.0)]
    assert pairs(head[:-1] + "甲", head[:-1] + "乙") == [(2, 1, round(1997 / 1999, 3))]


def test_a_line_is_told_with_the_one_that_is_most_alike_and_earlier():
    base = text(0, 400)
    assert pairs(base[:380] + text(9000, 20), text(3000, 400), base, base[:398]) == [
        (3, 1, round(378 / 418, 3)),
        (4, 1, round(378 / 416, 3)),
    ]


@pytest.mark.parametrize("length", [0, 1, 2, 3])
def test_a_short_text_has_one_part_at_least(length):
    assert len(NearDuplicates._shingles("a" * length)) == 1
