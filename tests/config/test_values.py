"""Values that work by themselves: whatever the rows and the base, the defaults train something, and say why."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from lesson.config.schedule import DataMeasures
from lesson.config.values import CHOSEN, FEWEST, MOST, Setup, choose_values
from lesson.core.messages import UserError

TINY = {"MAX_LENGTH": 512, "ACCUM": 1, "EPOCHS": 7, "LR": 2e-3, "WARMUP": 0.05, "SAVE_STEPS": 50}
STOCK = {"MAX_LENGTH": 2048, "ACCUM": 16, "EPOCHS": 3, "LR": 2e-4, "WARMUP": 0.03, "SAVE_STEPS": 50}
BASES = {
    "tiny": (TINY, SimpleNamespace(parameters=2_000_000, positions=2048, tokenizer=None), Setup(batch=4)),
    "small": (STOCK, SimpleNamespace(parameters=135_000_000, positions=8192, tokenizer=None), Setup()),
    "7b": (STOCK, SimpleNamespace(parameters=7_740_000_000, positions=32768, tokenizer=None), Setup()),
}


def measured(lengths: list[int], prompt: int = 20) -> DataMeasures:
    """Rows of so many tokens, of which `prompt` come before the answer."""
    prompts = tuple(min(prompt, length - 1) for length in lengths)
    return DataMeasures(tuple(lengths), 1, None, 0, 0, True, prompts)


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("rows", [50, 500, 5000])
@pytest.mark.parametrize("length", [30, 60, 400])
def test_the_defaults_make_enough_updates_and_never_a_warm_up_of_one_step(base, rows, length):
    usual, sizes, setup = BASES[base]
    chosen = choose_values(measured([length] * rows), sizes, usual, {}, setup)
    plan = chosen.schedule
    assert plan.optimizer_steps >= FEWEST or chosen.notes, (chosen.values, plan)
    assert plan.optimizer_steps <= 3 * MOST
    assert chosen.values.keys() == set(CHOSEN) == chosen.reasons.keys()
    assert chosen.values["SAVE_STEPS"] <= plan.iterations


@drawn(
    st.lists(st.integers(8, 3000), min_size=1, max_size=300),
    st.sampled_from(sorted(BASES)),
    st.fixed_dictionaries({}, optional={"EPOCHS": st.integers(1, 30), "ACCUM": st.integers(1, 32)}),
)
def test_whatever_the_rows_what_was_given_holds_and_the_rest_fits(lengths, base, given):
    usual, sizes, setup = BASES[base]
    try:
        chosen = choose_values(measured(lengths, 5), sizes, usual, given, setup)
    except UserError as error:  # nothing would be left to train on
        assert "MAX_LENGTH" in error.where
        return
    assert {name: chosen.values[name] for name in given} == given
    assert not given.keys() & chosen.reasons.keys()
    warmup = int(chosen.values["WARMUP"] * chosen.schedule.iterations)
    assert warmup != 1 or chosen.notes, chosen
    assert chosen.values["MAX_LENGTH"] <= max(sizes.positions, usual["MAX_LENGTH"])


def test_a_longer_rate_for_a_smaller_base():
    rates = [choose_values(measured([50] * 500), sizes, usual, {}, setup).values["LR"] for usual, sizes, setup in BASES.values()]  # fmt: skip
    assert rates == sorted(rates, reverse=True) and len(set(rates)) == 3


def test_rows_that_are_longer_than_a_sample_are_counted_or_get_longer_samples():
    usual, sizes, setup = BASES["tiny"]
    chosen = choose_values(measured([700] * 60, 650), sizes, usual, {}, setup)
    assert chosen.values["MAX_LENGTH"] >= 700 and "700" in chosen.reasons["MAX_LENGTH"]
    with pytest.raises(UserError, match="nothing is left to train on"):
        choose_values(measured([700] * 60, 650), sizes, usual, {"MAX_LENGTH": 512}, setup)
