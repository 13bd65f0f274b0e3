"""The text banks: their form, and that they are data alone."""

from __future__ import annotations

import ast
import json
import re

import jsonschema
import pytest

from lesson.authoring.banks import FOLDER, list_cores, read_bank, read_kind_numbers
from lesson.authoring.talks import MORE
from lesson.core.settings import ROOT

NAMES = sorted(path.stem for path in FOLDER.iterdir())


def test_the_banks_have_the_form_of_their_schema():
    schema = json.loads((ROOT / "schemas" / "banks.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft7Validator.check_schema(schema)
    jsonschema.Draft7Validator(schema).validate({name: read_bank(name) for name in NAMES})


def test_a_bank_is_read_once_and_none_is_unused():
    assert read_bank("names") is read_bank("names")
    files = [path for room in ("authoring", "bench") for path in (ROOT / "lesson" / room).glob("*.py")]
    sources = [path.read_text(encoding="utf-8") for path in files]
    named = {
        node.args[0].value
        for source in sources
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("read_bank", "read_kind_numbers")
        if isinstance(node.args[0], ast.Constant)
    }
    assert named == set(NAMES)


def texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, int | float):  # a weight
        return []
    return [text for part in (value.values() if isinstance(value, dict) else value) for text in texts(part)]


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("identity", {"other"}),
        ("base", {"name"}),
        ("synth", {"name", "author", "other", "another", "company", "user", "role"}),
        ("systems", {"name"}),
        ("general", set()),
    ],
)
def test_banks_hold_no_placeholder_that_nobody_fills(name, known):
    bank = {
        key: value for key, value in read_bank(name).items() if key != "about" and not isinstance(value, (int, float))
    }
    bank = {key: value for key, value in bank.items() if key not in ("weights", "defaults")}
    assert {place for text in texts(bank) for place in re.findall(r"\{(\w*)", text)} == known


def test_every_answer_about_the_assistant_says_its_name():
    synth = read_bank("synth")
    answers = [*texts(read_bank("base")["answers"]), *texts(synth["answers"])]
    answers += [pair["answer"] for pairs in synth["own_pairs"].values() for pair in pairs]
    answers += [pair["answer"] for pairs in synth["more_own_pairs"].values() for pair in pairs]
    answers += [talk[-1]["answer"] for talks in synth["pressed_talks"].values() for talk in talks]
    assert all("{name}" in answer for answer in answers)
    assert not any(
        "{name}" in text for text in texts([synth["near_pairs"], synth["known_pairs"], read_bank("general")])
    )
    assert not any(word in text for text in answers for word in ("{other}", "{another}", "{company}"))


def test_both_languages_and_every_kind_are_there():
    synth = read_bank("synth")
    assert synth["questions"].keys() == synth["answers"].keys()
    weighed = {kind for weights in synth["weights"].values() for kind in weights}
    assert synth["questions"].keys() < weighed
    assert {kind + MORE for kind in (*synth["more_questions"], "own_pairs")} < weighed and "situation" in weighed
    assert synth["more_questions"].keys() < synth["questions"].keys()
    assert set(read_kind_numbers("identity", "weights")) == {
        (topic, language) for topic in read_bank("identity")["cores"] for language in ("zh", "en")
    }
    assert list_cores(("name", "zh"))[0] == "你是谁" and list_cores(("name", "en"))[0] == "Who are you"


def test_no_bank_says_anything_twice():
    synth = read_bank("synth")
    for texts_ in (*synth["questions"].values(), *synth["answers"].values(), *synth["words"].values()):
        for language in ("zh", "en"):
            assert len(set(texts_[language])) == len(texts_[language])
    for kind, more in synth["more_questions"].items():
        for language in ("zh", "en"):
            told = [text.casefold() for text in (*more[language], *synth["questions"][kind][language])]
            assert len(set(told)) == len(told), kind
    assert all(len(set(texts_)) == len(texts_) for texts_ in synth["situations"].values())
