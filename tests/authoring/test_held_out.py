"""The evaluation's questions, data/eval, which no row asks: each maker of rows has its own test of that."""

from __future__ import annotations

import hashlib
import json

import pytest

from lesson.authoring.held_out import EVALUATION, fold_evaluation_questions, read_evaluation_questions
from lesson.core.settings import ROOT
from lesson.core.text import fold_text

# Another set of questions makes another corpus, and so another base.
QUESTIONS = {
    "identity": "49a5ca0cc758075f0373301d87b082f00cc87993348a2ed45e0a6afee2003711",
    "general": "19c976eaaf1c9ee30b3627bae2b08cbe656983b5c5cb3f6e3fb48d5d4e54913b",
}
FOLDED = "d41d8b3257979baffc5d311de2f82be01634d00af9620b0ee6901022cdc7968b"


def read_document(name: str) -> dict:
    return json.loads((EVALUATION / f"{name}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", QUESTIONS)
def test_questions_are_those_that_the_shipped_base_was_never_asked(name):
    assert hashlib.sha256((EVALUATION / f"{name}.json").read_bytes()).hexdigest() == QUESTIONS[name]


def test_all_questions_are_held_out():
    inputs = [q["input"] for name in QUESTIONS for q in read_document(name)["questions"]]
    assert read_evaluation_questions() == inputs
    assert fold_evaluation_questions() == {fold_text(text) for text in inputs}
    text = "".join(question + "\n" for question in sorted(fold_evaluation_questions()))
    assert hashlib.sha256(text.encode()).hexdigest() == FOLDED


def test_evaluation_has_enough_questions_in_both_languages_and_none_twice():
    for name, least in (("identity", 40), ("general", 60)):
        inputs = [q["input"] for q in read_document(name)["questions"]]
        assert len({fold_text(text) for text in inputs}) == len(inputs) >= least
        assert sum(text.isascii() for text in inputs) >= 10


def test_a_general_question_does_not_give_its_answer_away():
    for question in read_document("general")["questions"]:
        assert not any(text.casefold() in question["input"].casefold() for text in question["accept"])


@pytest.mark.parametrize("name", QUESTIONS)
def test_questions_fit_their_schema(name):
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((ROOT / "schemas" / "questions.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft7Validator.check_schema(schema)
    jsonschema.Draft7Validator(schema).validate(read_document(name))
    assert all(("accept" in q) == (name == "general") for q in read_document(name)["questions"])
