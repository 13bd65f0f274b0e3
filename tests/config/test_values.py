"""Values that work by themselves: whatever the rows and the base, the defaults train something, and say why."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
from configs import BASES, measured
from hypothesis import given as drawn
from hypothesis import strategies as st

from lesson.config.schedule import measure_file
from lesson.config.values import CHOSEN, FEWEST, REAL_AIM, TINY_AIM, choose_values
from lesson.core.messages import UserError
from lesson.core.settings import ROOT


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("rows", [50, 500, 5000])
@pytest.mark.parametrize("length", [30, 60, 400])
def test_the_defaults_make_enough_updates_and_never_a_warm_up_of_one_step(base, rows, length):
    usual, sizes, setup = BASES[base]
    chosen = choose_values(measured([length] * rows), sizes, usual, {}, setup)
    plan = chosen.schedule
    assert plan.optimizer_steps >= FEWEST or chosen.notes, (chosen.values, plan)
    assert plan.optimizer_steps <= 3 * (TINY_AIM if base == "tiny" else REAL_AIM).most
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


def test_samples_are_taken_at_once_where_that_leaves_the_global_batch():
    """ACCUM=2 becomes BATCH=2, as many samples to an update; ACCUM=1 and a given ACCUM stay, and the note says what would."""
    usual, sizes, setup = BASES["7b"]
    usual, sizes, setup = (
        usual | {"BATCH": 1},
        SimpleNamespace(**vars(sizes) | {"tokens": 4 * 2048}),
        replace(setup, most_batch=4),
    )
    rows = measured([700] * 6000)
    alone, several = (choose_values(rows, sizes, usual, {}, s) for s in (replace(setup, most_batch=1), setup))
    accumulate = alone.values["ACCUM"]
    assert accumulate > 1 and "BATCH" not in alone.values
    assert several.values["BATCH"] * several.values["ACCUM"] == accumulate and several.values["BATCH"] > 1
    assert several.schedule.optimizer_steps == pytest.approx(alone.schedule.optimizer_steps, abs=1)
    assert several.schedule.effective_batch == alone.schedule.effective_batch
    for given in ({}, {"ACCUM": 2}):
        few = choose_values(measured([700] * (100 if not given else 6000)), sizes, usual, given, setup)
        assert "BATCH" not in few.values and any("at once" in note and "BATCH=" in note for note in few.notes)


def test_a_longer_rate_for_a_smaller_base():
    rates = [choose_values(measured([50] * 500), sizes, usual, {}, setup).values["LR"] for usual, sizes, setup in BASES.values()]  # fmt: skip
    assert rates == sorted(rates, reverse=True) and len(set(rates)) == 3


def test_rows_that_are_longer_than_a_sample_are_counted_or_get_longer_samples():
    usual, sizes, setup = BASES["tiny"]
    chosen = choose_values(measured([700] * 60, 650), sizes, usual, {}, setup)
    assert chosen.values["MAX_LENGTH"] >= 700 and "700" in chosen.reasons["MAX_LENGTH"]
    with pytest.raises(UserError, match="nothing is left to train on"):
        choose_values(measured([700] * 60, 650), sizes, usual, {"MAX_LENGTH": 512}, setup)


def test_a_persona_of_700_characters_is_trained_on_at_tiny_and_what_would_leave_nothing_is_refused(tmp_path):
    """As in the course's published rows: the system prompt alone is longer than the profile's MAX_LENGTH."""
    persona = ("你是尖米，一名耐心的书店店员助手，熟悉店里的图书、文具和会员规则。" * 30)[:700]
    turns = [
        {"system": persona, "input": f"第{i}个问题：你是谁？", "output": f"我是尖米，编号{i}。"} for i in range(60)
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"conversation": [turn]}) + "\n" for turn in turns), encoding="utf-8")
    data = measure_file(path, "internlm2_chat", ROOT / "data/tiny-base/tokenizer.json", "尖米")
    usual, sizes, setup = BASES["tiny"]
    assert data.exact and min(data.prompts) > usual["MAX_LENGTH"]
    chosen = choose_values(data, sizes, usual, {}, setup)
    assert data.longest <= chosen.values["MAX_LENGTH"] <= sizes.positions
    assert data.count_cut(chosen.values["MAX_LENGTH"]) == (0, 0) and chosen.schedule.samples > 0
    with pytest.raises(UserError) as refused:
        choose_values(data, sizes, usual, {"MAX_LENGTH": usual["MAX_LENGTH"]}, setup)
    enough = int(re.search(r"MAX_LENGTH=(\d+) keeps them", refused.value.remedy)[1])
    assert choose_values(data, sizes, usual, {"MAX_LENGTH": enough}, setup).schedule.samples > 0
    few = choose_values(data, sizes, usual, {"MAX_LENGTH": min(data.prompts) + 2}, setup)
    assert "of 60 rows lose their end" in few.notes[0] and f"MAX_LENGTH={enough} keeps them" in few.notes[0]


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize(("rows", "length"), [(1, 40), (10, 40), (3, 400), (12, 30)])
def test_the_line_that_says_what_is_missing_is_true(base, rows, length):
    """With as many more rows as it asks for, or with its EPOCHS, there are 40 updates."""
    usual, sizes, setup = BASES[base]
    notes = choose_values(measured([length] * rows), sizes, usual, {}, setup).notes
    if notes:
        more, epochs = (int(n) for n in re.search(r"about (\d+) more rows, or set EPOCHS=(\d+)", notes[-1]).groups())
        for enough, given in ((rows + more, {}), (rows, {"EPOCHS": epochs})):
            chosen = choose_values(measured([length] * enough), sizes, usual, given, setup)
            assert chosen.schedule.optimizer_steps >= FEWEST, (enough, given)
