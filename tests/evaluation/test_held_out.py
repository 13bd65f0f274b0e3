"""The evaluation's questions: read whole, and refused where they were trained on."""

from __future__ import annotations

from pathlib import Path

import pytest

from lesson.core.messages import UserError
from lesson.data import rows
from lesson.evaluation.held_out import KINDS, read_questions, read_system_prompts, refuse_trained_questions

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
    from lesson.core.settings import ROOT

    shipped = ROOT / "data" / "assistant_Tuner.jsonl"
    refuse_trained_questions(read_questions("identity"), rows.read_rows(shipped), shipped)
