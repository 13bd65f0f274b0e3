"""The text banks: their form, and that they are data alone."""

from __future__ import annotations

import ast
import json
import re

import jsonschema
import pytest

from lesson.authoring.banks import FOLDER, list_cores, read_bank, read_kind_numbers
from lesson.core.settings import ROOT

NAMES = sorted(path.stem for path in FOLDER.iterdir())


def test_the_banks_have_the_form_of_their_schema():
    schema = json.loads((ROOT / "schemas" / "banks.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft7Validator.check_schema(schema)
    jsonschema.Draft7Validator(schema).validate({name: read_bank(name) for name in NAMES})


def test_a_bank_is_read_once_and_none_is_unused():
    assert read_bank("names") is read_bank("names")
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "lesson" / "authoring").glob("*.py")]
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
    return [text for part in (value.values() if isinstance(value, dict) else value) for text in texts(part)]


@pytest.mark.parametrize(
    ("name", "known"),
    [("identity", {"other"}), ("base", {"name"}), ("course", {"name"}), ("synth", {"name", "author", "other"})],
)
def test_banks_hold_no_placeholder_that_nobody_fills(name, known):
    bank = {
        key: value for key, value in read_bank(name).items() if key != "about" and not isinstance(value, (int, float))
    }
    bank = {key: value for key, value in bank.items() if key not in ("weights", "copies") or name == "base"}
    assert {place for text in texts(bank) for place in re.findall(r"\{(\w*)", text)} == known


def test_every_answer_about_the_assistant_says_its_name():
    answers = [*texts(read_bank("base")["answers"]), *texts(read_bank("course")["answers"])]
    answers += [*texts(read_bank("synth")["maker_answers"])]
    answers += [text for refusals in read_bank("synth")["refusals"].values() for text in refusals["answers"]]
    assert all("{name}" in answer for answer in answers)


def test_every_kind_of_question_has_cores_and_a_number():
    for kinds in (read_kind_numbers("identity", "weights"), read_kind_numbers("course", "copies")):
        assert set(kinds) == {
            (topic, language) for topic in read_bank("identity")["cores"] for language in ("zh", "en")
        }
    assert all(isinstance(number, int) for number in read_kind_numbers("course", "copies").values())
    assert list_cores(("name", "zh"))[0] == "你是谁" and list_cores(("name", "en"))[0] == "Who are you"
    assert all(text in list_cores(("name", "zh")) for text in read_bank("identity")["half_sentences"])
