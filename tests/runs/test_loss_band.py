"""Two loss curves: what identical, within the band and outside mean."""

from __future__ import annotations

import json
import math

from hypothesis import given
from hypothesis import strategies as st

from lesson.core.settings import ROOT
from lesson.runs.loss_band import IDENTICAL, LARGEST, MEAN, OUTSIDE, WITHIN, compare_curves, largest_allowed

losses = st.lists(st.floats(0.01, 12, allow_nan=False), min_size=1, max_size=60)


def points(values) -> list[tuple[int, float | None]]:
    return list(enumerate(values, 1))


@given(losses, losses)
def test_the_comparison_is_symmetric(a, b):
    assert compare_curves(points(a), points(b)) == compare_curves(points(b), points(a))


@given(losses)
def test_a_curve_is_identical_to_itself_in_any_order_of_its_points(a):
    result = compare_curves(points(a), points(a)[::-1])
    assert (result.verdict, result.first, result.largest, result.share) == (IDENTICAL, None, 0, 0)
    assert result.steps == len(a)


@given(losses, st.data())
def test_one_loss_that_differs_in_its_last_bit_is_not_identical_and_its_step_is_named(a, data):
    where = data.draw(st.integers(0, len(a) - 1))
    other = [*a[:where], math.nextafter(a[where], math.inf), *a[where + 1 :]]
    result = compare_curves(points(a), points(other))
    assert result.verdict == WITHIN
    assert result.first == result.largest_at == where + 1


@given(losses, st.floats(1.001, 4))
def test_a_curve_shifted_beyond_the_band_is_outside(a, factor):
    """By more than LARGEST everywhere, or by more than the share MEAN everywhere: either limit alone is enough."""
    assert compare_curves(points(a), points([x + LARGEST["tiny"] * factor for x in a])).verdict == OUTSIDE
    share = MEAN * factor
    assert compare_curves(points(a), points([x * (1 + share) / (1 - share) for x in a])).verdict == OUTSIDE


@given(losses, st.floats(0, 0.99))
def test_a_curve_shifted_by_less_than_both_limits_is_within(a, factor):
    shift = min(LARGEST["tiny"], MEAN * sum(a) / len(a)) * factor
    assert compare_curves(points(a), points([x + shift for x in a])).verdict in (IDENTICAL, WITHIN)


@given(losses, st.data())
def test_a_truncated_curve_is_outside_however_equal_the_rest(a, data):
    kept = data.draw(st.integers(0, len(a) - 1))
    result = compare_curves(points(a), points(a)[:kept])
    assert result.verdict == OUTSIDE
    assert (result.steps, result.missing, result.first) == (kept, len(a) - kept, None)


@given(losses, st.data())
def test_a_loss_that_was_no_number_in_one_curve_only_is_outside(a, data):
    where = data.draw(st.integers(0, len(a) - 1))
    broken = [*a[:where], None, *a[where + 1 :]]
    assert compare_curves(points(a), points(broken)).verdict == OUTSIDE
    assert compare_curves(points(broken), points(broken)).verdict == IDENTICAL


def test_no_curve_at_all_is_not_identical():
    assert compare_curves([], []).verdict == OUTSIDE


def test_at_7b_fast_is_within_its_band_of_stock():
    """The shipped goldens of 7b, measured on one GPU: two curves, within 7b's band."""
    curves = []
    for name in ("7b", "7b-fast"):
        document = json.loads((ROOT / "golden" / "loss" / f"{name}-nvidia-h200.json").read_text())
        curves.append([(point["step"], point["loss"]) for point in document["curve"]])
        assert largest_allowed(document) == LARGEST["7b"]
    assert compare_curves(*curves, LARGEST["7b"]).verdict == WITHIN
    assert compare_curves(*curves, 0.1).verdict == OUTSIDE
    assert largest_allowed({}) == largest_allowed({"profile": ["7b"]}) == LARGEST["tiny"]


def test_the_border_belongs_to_the_band():
    """Numbers that binary fractions hold exactly, so that the differences are the limits themselves."""
    even, share = points([4.0, 4.0]), 1.0
    assert compare_curves(even, points([4.25, 4.0]), 0.25, share).verdict == WITHIN
    assert compare_curves(even, points([4.25 + 2**-40, 4.0]), 0.25, share).verdict == OUTSIDE
    # A mean difference of 1/8 over a mean loss of (4 + 4 + 4.25 + 4) / 4.
    mean = 0.125 / 4.0625
    assert compare_curves(even, points([4.25, 4.0]), 0.25, mean).verdict == WITHIN
    assert compare_curves(even, points([4.25, 4.0]), 0.25, mean * (1 - 1e-12)).verdict == OUTSIDE


def test_what_is_said_of_two_curves():
    result = compare_curves([(1, 2.0), (2, 1.0), (3, 1.0), (9, 5.0)], [(1, 2.0), (2, 1.5), (3, 0.5), (7, 5.0)])
    assert (result.steps, result.missing, result.first, result.largest_at) == (3, 2, 2, 2)
    assert (result.largest, result.mean, result.share) == (0.5, 1 / 3, (1 / 3) / (8.0 / 6))
    assert compare_curves([(1, 0.0)], [(1, 0.0)]).share == 0
    apart = compare_curves([(1, 2.0)], [(2, 1.0)])
    assert (apart.mean, apart.share, apart.largest, apart.largest_at, apart.missing) == (0, 0, 0, None, 2)
    assert compare_curves([(1, None)], [(1, 1.0)]).share == math.inf == compare_curves([(1, None)], [(1, 1.0)]).largest
    assert compare_curves([(1, -2.0)], [(1, -2.5)]).share == 0.5 / 2.25
    assert (LARGEST, MEAN) == ({"tiny": 0.25, "7b": 0.75}, 0.03), "measured; see the table in the module"
