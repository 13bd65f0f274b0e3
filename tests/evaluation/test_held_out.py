"""The evaluation's questions: read whole, and refused where they were trained on."""

from __future__ import annotations

import collections
import itertools
import json
from pathlib import Path

import pytest

from lesson.authoring.synth import Mix, make_synthetic_rows
from lesson.core.messages import UserError
from lesson.core.settings import ROOT, Values
from lesson.core.text import fold_text
from lesson.data import rows
from lesson.evaluation.held_out import (
    KINDS,
    SETS,
    choose_question_set,
    language_of,
    read_identity_questions,
    read_questions,
    read_system_prompts,
    refuse_trained_questions,
)

ROWS = Path("rows.jsonl")


def row(text: str) -> dict:
    return {"conversation": [{"system": "", "input": text, "output": "我是机智流。"}]}


def test_general_questions_name_what_is_accepted_and_identity_ones_ask_for_the_name_alone():
    questions = {kind: read_questions(kind) for kind in KINDS}
    assert all(question["input"] for kind in KINDS for question in questions[kind])
    assert all(question["accept"] for question in questions["general"])
    assert not any("accept" in question for question in questions["identity"])


def test_the_persona_stands_beside_no_prompt_and_a_neutral_one():
    prompts = read_system_prompts("你是机智流。")
    assert list(prompts) == ["persona", "none", "neutral"]
    assert prompts["persona"] == "你是机智流。" and prompts["none"] == "" and prompts["neutral"]


def test_a_question_that_was_trained_on_is_refused_in_whatever_width_and_punctuation():
    questions = [{"input": "Who are you?"}]
    refuse_trained_questions(questions, [row("Who is he?")], ROWS)
    with pytest.raises(UserError, match=r"rows\.jsonl: trains on the evaluation question 'Who are you\?'"):
        refuse_trained_questions(questions, [row("x"), row("ＷＨＯ are you ！")], ROWS)


def test_the_shipped_rows_train_on_no_question():
    shipped = ROOT / "data" / "assistant_Tuner.jsonl"
    refuse_trained_questions(read_questions("identity"), rows.read_rows(shipped), shipped)


def grams(text: str) -> frozenset[str]:
    """Character trigrams of folded Chinese text, word bigrams of English, with a mark at both ends."""
    if language_of(text) == "zh":
        line = f"^{fold_text(text)}$"
        return frozenset(line[i : i + 3] for i in range(len(line) - 2))
    words = ["^", *filter(None, map(fold_text, text.split())), "$"]
    return frozenset(map(" ".join, itertools.pairwise(words)))


@pytest.mark.parametrize("name", ["identity_tune", "identity_report"])
def test_questions_for_real_bases_are_near_no_row_that_ships_or_that_synth_writes(name):
    """Nowhere the same by folded text, and by n-grams less than 0.7 alike (Jaccard)."""
    shipped = rows.read_rows(ROOT / "data" / "assistant_Tuner.jsonl")
    made = [json.loads(row) for seed in (1, 2) for row in make_synthetic_rows(Mix("机智流", general=0.1), 800, seed)]
    trained = {turn["input"] for row in [*shipped, *made] for turn in row["conversation"]}
    questions = [text for q in read_questions(name) for text in (*q.get("before", ()), q["input"])]
    assert not {fold_text(text) for text in questions} & {fold_text(text) for text in trained}
    theirs = [grams(text) for text in trained]
    for question in questions:
        mine = grams(question)
        nearest = max(theirs, key=lambda other: len(mine & other) / len(mine | other))
        assert len(mine & nearest) < 0.7 * len(mine | nearest), (question, nearest)


def test_the_two_halves_have_the_same_kinds_and_no_question_in_both():
    tune, report = (read_questions(SETS[half]) for half in ("tune", "report"))
    kinds = [collections.Counter((q["kind"], q["lang"]) for q in half) for half in (tune, report)]
    assert kinds[0] == kinds[1] and sum(kinds[0].values()) == 100
    assert {lang for _, lang in kinds[0]} == {"zh", "en"}
    halves = [{(*q.get("before", ()), q["input"]) for q in half} for half in (tune, report)]
    assert not halves[0] & halves[1]
    assert all(len(q.get("before", ())) == {"pressed2": 1, "pressed3": 2}.get(q["kind"], 0) for q in tune + report)
    assert not [q for q in read_identity_questions("report", "尖米") if "{old}" in q["input"]]


def test_the_profile_chooses_the_questions_unless_they_are_named():
    assert choose_question_set(Values({"PROFILE": "tiny"}, {})) == "tiny"
    assert choose_question_set(Values({"PROFILE": "7b"}, {})) == "report"
    assert choose_question_set(Values({"PROFILE": "7b", "QUESTIONS_SET": "tune"}, {})) == "tune"
