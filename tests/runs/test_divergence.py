"""When a loss is given up: no number, exploded, or risen or dead for five steps on end; and never in a healthy run."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lesson.core.settings import ROOT
from lesson.runs.divergence import DivergenceDetector


def stopped_at(losses, first: float | None = None) -> int | None:
    """The step, from 1, at which the run is given up; None for a run that goes to its end."""
    detector = DivergenceDetector(first)
    return next((step for step, loss in enumerate(losses, 1) if detector.has_diverged(loss)), None)


@pytest.mark.parametrize(
    ("losses", "step"),
    [
        ([4.0, 3.0, math.nan], 3),
        ([math.inf], 1),
        ([4.0, 11.9, 12.1], 3),
        ([4.0, 6.1, 6.2, 6.1, 6.2, 6.1], 6),
        ([4.0, 6.1, 6.2, 6.1, 6.2, 5.9, 6.1, 6.2, 6.1, 6.2], None),
        # The uniform answer over 2500 tokens, after a first step of bad luck: seen with a learning rate of 5000.
        ([5.285, 2.827, 7.824047, 7.824046, 7.824045, 7.824046, 7.824047], 7),
        ([0.1, 0.9, 1.4, 1.2, 0.8, 1.4, 1.3], None),
    ],
)
def test_a_run_is_given_up_at_the_step_that_shows_it(losses, step):
    assert stopped_at(losses) == step


def test_a_resumed_run_is_judged_by_the_first_loss_of_all():
    assert stopped_at([5.0], first=1.5) == 1 and stopped_at([5.0]) is None


@given(st.floats(1, 13), st.lists(st.floats(0, 1.5), max_size=60))
def test_a_run_that_stays_below_half_as_much_again_and_moves_goes_on(first, shares):
    """Whatever the order of its losses: only one that stands still for five steps above its first is given up."""
    losses = [first, *(first * share for share in shares)]
    step = stopped_at(losses)
    still = losses[step - 5 : step] if step else []
    assert step is None or (max(still) - min(still) < 1e-3 and min(still) > first)


@given(st.floats(0.01, 13), st.integers(1, 40))
def test_a_learning_rate_too_small_to_move_anything_is_no_divergence(first, steps):
    assert stopped_at([first] * steps) is None


def test_no_shipped_golden_is_given_up():
    for path in (ROOT / "golden" / "loss").glob("*.json"):
        assert stopped_at(point["loss"] for point in json.loads(path.read_text())["curve"]) is None, path
