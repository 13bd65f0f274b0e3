"""Base and tuned model are asked the same questions; what changed is counted in pairs, and fails only far beyond chance."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace

import pytest
from faults import repeat_after_kills, snapshot
from hypothesis import given
from hypothesis import strategies as st

from lesson.core.layout import base_choices_file
from lesson.core.messages import set_language
from lesson.core.settings import Values
from lesson.evaluation import choices
from lesson.evaluation.bars import LARGEST_FALL, find_missed_choices
from lesson.evaluation.choice_files import ChoiceQuestion, ChoiceSet
from lesson.evaluation.choices import compare_choices, count_choices, describe_choices, get_base_choices
from lesson.evaluation.intervals import Z95, paired_interval


def make_set(count: int, name: str = "arc") -> ChoiceSet:
    questions = tuple(
        ChoiceQuestion(f"{name} {i}", ("a", "b", "c", "d"), 0, "text", "arc.jsonl", i) for i in range(count)
    )
    return ChoiceSet(name, 1000, "text", False, questions)


def counted(both: int, lost: int, gained: int, neither: int) -> dict:
    """The counts of a set where so many questions are right for both, for the base alone, the tuned model alone, nobody."""
    base = [0] * (both + lost) + [1] * (gained + neither)
    tuned = [0] * both + [1] * lost + [0] * gained + [2] * neither
    return count_choices(make_set(len(base)), base, tuned)


def missed(*counts: dict) -> list[dict]:
    return find_missed_choices({"choices": {"sets": list(counts)}})


def test_pairs_are_counted_and_the_interval_is_that_of_the_pairs():
    counts = counted(60, 20, 5, 15)
    low, high = counts.pop("interval")
    assert counts == {
        "set": "arc",
        "rule": "text",
        "found": 1000,
        "questions": 100,
        "chance": 0.25,
        "base": 80,
        "tuned": 65,
        "lost": 20,
        "gained": 5,
        "difference": -0.15,
    }
    # Agresti and Min (2005): (20.5 - 5.5) / 102, and z sqrt(26 - 15² / 102) / 102.
    half = Z95 * math.sqrt(26 - 225 / 102) / 102
    assert (low, high) == pytest.approx((-15 / 102 - half, -15 / 102 + half), abs=5e-5)


def test_a_set_is_missed_only_where_the_whole_interval_lies_below_the_fall():
    assert missed(counted(60, 20, 5, 15)) == [{"prompt": "arc", "bar": "choices", "share": 0.15, "limit": LARGEST_FALL}]
    assert not missed(counted(70, 10, 5, 15)), "5 points lost, and it may be chance"
    assert not missed(counted(0, 2, 0, 1)), "three questions say nothing"
    assert not missed(counted(5, 20, 60, 15)), "what was gained"
    assert not missed() and find_missed_choices({}) == []


@given(*[st.integers(0, 60)] * 4)
def test_counts_hold_together_and_only_a_fall_is_missed(both, lost, gained, neither):
    if both + lost + gained + neither:
        counts = counted(both, lost, gained, neither)
        assert counts["tuned"] == counts["base"] - counts["lost"] + counts["gained"]
        assert counts["lost"] <= counts["base"] <= counts["questions"] - counts["gained"]
        low, high = counts["interval"]
        assert -1 <= low < high <= 1
        if missed(counts):
            assert high < -LARGEST_FALL and counts["difference"] < -LARGEST_FALL


@pytest.mark.parametrize("of", [30, 100, 200])
@pytest.mark.parametrize(("lose", "gain"), [(0.02, 0.02), (0.05, 0.05), (0.12, 0.04), (0.3, 0.1), (0.5, 0.1)])
def test_the_interval_holds_the_true_difference_in_95_of_100_samples(of, lose, gain):
    """Exactly, by the trinomial law of what is lost and gained: at least 92.5% as Agresti and Min found for theirs."""
    held = 0.0
    for lost in range(of + 1):
        for gained in range(of + 1 - lost):
            low, high = paired_interval(lost, gained, of)
            if low <= gain - lose <= high:
                ways = math.lgamma(of + 1) - math.lgamma(lost + 1) - math.lgamma(gained + 1)
                ways -= math.lgamma(of - lost - gained + 1)
                chance = lost * math.log(lose) + gained * math.log(gain)
                held += math.exp(ways + chance + (of - lost - gained) * math.log(1 - lose - gain))
    assert held >= 0.925


def test_no_counts_of_a_stranger_break_the_interval():
    low, high = paired_interval(10**6, 0, 1)
    assert low == -1 and high <= 1


@pytest.fixture
def base(monkeypatch, tmp_path):
    """The sets that a base without a model behind it was asked; it chooses the last option each time."""
    asked: list[str] = []

    def choose(tokenizer, model, chosen, what, progress):
        asked.append(chosen.name)
        return [3] * len(chosen.questions)

    monkeypatch.setattr(choices, "load_model", lambda values, use, run: ("tokenizer", "model"))
    monkeypatch.setattr(choices, "choose_options", choose)
    return asked


def test_the_base_is_asked_each_set_once_wherever_its_files_stand(tmp_path, base):
    values, one, two = Values({"BUILD": str(tmp_path)}, {}), make_set(3, "one"), make_set(4, "two")
    progress = io.StringIO()
    assert get_base_choices(values, [one, two], "hash", progress) == [[3] * 3, [3] * 4]
    moved = replace(one, name="moved", questions=tuple(replace(q, file="elsewhere") for q in one.questions))
    assert get_base_choices(values, [moved, two], "hash", progress) == [[3] * 3, [3] * 4] and base == ["one", "two"]
    get_base_choices(values, [make_set(2, "one")], "hash", progress)
    assert base == ["one", "two", "one"], "another sample"
    get_base_choices(values, [one], "hash", progress)
    assert base == ["one", "two", "one"], "the first ones are still there"
    get_base_choices(values, [one], "another", progress)
    assert base[3:] == ["one"], "another base"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"key": {"base": "hash", "rules": 1}, "choices": 1}', "\0"])
def test_a_file_that_is_not_what_was_stored_counts_as_nothing_stored(tmp_path, base, text):
    base_choices_file(tmp_path).write_text(text, encoding="utf-8")
    assert get_base_choices(Values({"BUILD": str(tmp_path)}, {}), [make_set(2)], "hash", io.StringIO()) == [[3, 3]]
    key = next(iter(json.loads(base_choices_file(tmp_path).read_text())["choices"]))
    stored = {"key": {"base": "hash", "rules": choices.RULES}, "choices": {key: [0]}}
    base_choices_file(tmp_path).write_text(json.dumps(stored), encoding="utf-8")
    assert get_base_choices(Values({"BUILD": str(tmp_path)}, {}), [make_set(2)], "hash", io.StringIO()) == [[3, 3]]


@pytest.mark.slow
def test_killed_before_any_operation_the_same_command_ends_in_the_same_choices(tmp_path, base):
    begin, place = tmp_path / "begin", tmp_path / "build"
    begin.mkdir()
    place.mkdir()

    def act() -> int:
        get_base_choices(Values({"BUILD": str(place)}, {}), [make_set(2, "a"), make_set(3, "b")], "hash", io.StringIO())
        return 0

    assert repeat_after_kills(act, place, begin, lambda: snapshot(place)) >= 5


def test_the_report_has_counts_beside_shares_and_says_where_nothing_can_be_forgotten():
    one = make_set(200)
    result, lines = compare_choices([one], [[0] * 100 + [1] * 100], lambda chosen: [0] * 90 + [1] * 105 + [0] * 5)
    assert list(describe_choices(result))[1] == (
        "  arc: base → tuned 100/200 (50%) → 95/200 (48%), -2.5 points (-6.3 to +1.4); 10 lost, 5 gained; "
        "200 of 1000 drawn"
    )
    assert lines[90] == {
        "set": "arc",
        "file": "arc.jsonl",
        "line": 90,
        "input": "arc 90",
        "options": ["a", "b", "c", "d"],
        "answer": 0,
        "base": 0,
        "tuned": 1,
    }
    result, _ = compare_choices([one], [[0] * 50 + [1] * 150], lambda chosen: [0] * 200)
    assert "the base hardly beats chance (25%): nothing to forget" in list(describe_choices(result))[1]
    set_language("zh")
    assert "基座与乱猜（25%）相差无几，谈不上遗忘" in list(describe_choices(result))[1]
