"""Intervals against figures worked out elsewhere, and what holds for all of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lesson.evaluation.intervals import paired_interval, wilson_interval


@pytest.mark.parametrize(
    ("count", "of", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_s_interval_is_that_of_newcombe_s_table(count, of, low, high):
    """R. G. Newcombe, Two-sided confidence intervals for the single proportion, Statistics in Medicine 17 (1998), table I."""
    assert wilson_interval(count, of) == pytest.approx((low, high), abs=6e-5)


@given(st.integers(1, 500).flatmap(lambda of: st.tuples(st.integers(0, of), st.just(of))))
def test_the_share_lies_in_its_interval(pair):
    count, of = pair
    low, high = wilson_interval(count, of)
    assert 0 <= low <= count / of <= high <= 1


def test_nothing_asked_says_nothing():
    assert wilson_interval(0, 0) == (0.0, 1.0)
    assert paired_interval(0, 0, 0) == (-1.0, 1.0)


@given(st.integers(0, 50), st.integers(0, 50))
def test_losing_as_much_as_was_gained_changes_nothing(lost, gained):
    low, high = paired_interval(lost, gained, 100)
    assert low < high and (low + high) / 2 == pytest.approx((gained - lost) / 102)
