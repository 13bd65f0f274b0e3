"""Bases by name: the table has the form of its schema, and names tell family, size and what a base calls itself."""

from __future__ import annotations

import json

import jsonschema
import pytest

from lesson.core.settings import ROOT
from lesson.model.known_bases import BASE_SIZES, family_and_size, known_license, own_names
from lesson.model.shape import shape_of

TABLE = json.loads((ROOT / "lesson/model/known_bases.json").read_text(encoding="utf-8"))


def test_the_table_has_the_form_of_its_schema():
    schema = json.loads((ROOT / "schemas/known_bases.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft7Validator.check_schema(schema)
    jsonschema.Draft7Validator(schema).validate(TABLE)


@pytest.mark.parametrize("base", TABLE["bases"], ids=lambda base: base["names"][0])
def test_the_sizes_of_each_base_make_the_parameters_that_its_name_says(base):
    assert all(family_and_size(name) == (base["family"], base["size"]) for name in base["names"])
    billions = float(base["size"].replace("_", "."))
    counted = shape_of(BASE_SIZES[base["family"], base["size"]], base["names"][0]).parameters / 1e9
    assert counted == pytest.approx(billions, rel=0.25), "makers round, and some do not count embeddings"


def test_own_names():
    assert "通义千问" in own_names("Qwen/Qwen2.5-0.5B-Instruct") and own_names("/x/my", "qwen2")[-1] == "Qwen"
    assert own_names("HuggingFaceTB/SmolLM2-135M-Instruct", "llama") == ("SmolLM",)
    assert own_names("/x/my", "llama") == (), "anybody's may be of Llama's shape"
    assert own_names("internlm/internlm2_5-7b-chat")[0] == "书生·浦语"


def test_licences():
    assert known_license("Qwen/Qwen2.5-0.5B-Instruct") == "apache-2.0"
    assert known_license("/models/mine") is None
