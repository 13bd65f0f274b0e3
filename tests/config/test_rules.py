"""The tables of rules and of what is trusted have the form of their schemas."""

from __future__ import annotations

import json

import jsonschema
from configs import SCHEMA

from lesson.config.rules import CONFIG_RULES
from lesson.core.settings import ROOT


def test_every_rule_is_told_in_two_languages():
    for name in ("rules", "trust"):
        schema = json.loads((ROOT / "schemas" / f"config_{name}.schema.json").read_text(encoding="utf-8"))
        jsonschema.Draft7Validator.check_schema(schema)
        jsonschema.Draft7Validator(schema).validate(
            json.loads((ROOT / f"lesson/config/{name}.json").read_text("utf-8"))
        )
    assert [name for name, rule in CONFIG_RULES.items() if "{" in rule.reason().replace("{{ … }}", "")] == []
    kinds = SCHEMA.schema["properties"]["problems"]["items"]["properties"]["kind"]["enum"]
    assert set(kinds) <= CONFIG_RULES.keys()
