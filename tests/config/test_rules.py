"""The tables of rules and of what is trusted have the form of their schemas."""

from __future__ import annotations

import json
import re

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


# What only an edit of the file mends: no variable and no command does.
BY_HAND = {
    "trust-size",
    "trust-import",
    "trust-call",
    "trust-name",
    "trust-attribute",
    "trust-statement",
    "trust-template",
}
BY_HAND |= {"trust-type", "base", "undefined", "unfolded"}


def test_every_remedy_names_a_command_a_variable_with_a_value_or_a_statement():
    typed = re.compile(r"\bmake [a-z]|\b[A-Z_]+=[\w.]+|\b\w+ ?= ?[\w\[(]")
    for name, rule in CONFIG_RULES.items():
        for text in rule.remedy.values():
            assert bool(typed.search(text)) or name in BY_HAND, (name, text)
