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
    """The shipped goldens of 7b, measured on one GPU: within 7b's band, which is wider in single steps than tiny's."""
    curves = []
    for name in ("7b", "7b-fast"):
        document = json.loads((ROOT / "golden" / "loss" / f"{name}-nvidia-h100-80gb-hbm3.json").read_text())
        curves.append([(point["step"], point["loss"]) for point in document["curve"]])
        assert largest_allowed(document) == LARGEST["7b"]
    assert compare_curves(*curves, LARGEST["7b"]).verdict == WITHIN
    assert compare_curves(*curves, LARGEST["tiny"]).verdict == OUTSIDE
    assert largest_allowed({}) == largest_allowed({"profile": ["7b"]}) == LARGEST["tiny"]
