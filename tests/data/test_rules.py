"""The table of the rules of rows: its form, and patterns that the fast filters know."""

from __future__ import annotations

import json
import re

import jsonschema
from hypothesis import given, settings
from hypothesis import strategies as st

from lesson.core.settings import ROOT
from lesson.data.rules import PLACEHOLDER, PLACEHOLDER_STARTS, ROW_RULES, TABLE_FILE

TABLE = json.loads(TABLE_FILE.read_text(encoding="utf-8"))


def test_the_table_has_the_form_of_its_schema():
    schema = json.loads((ROOT / "schemas" / "row_rules.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft7Validator.check_schema(schema)
    jsonschema.Draft7Validator(schema, format_checker=jsonschema.FormatChecker()).validate(TABLE)


def test_every_rule_is_used_in_the_code_and_every_rule_in_the_code_is_in_the_table():
    files = [*(ROOT / "lesson/data").glob("*.py"), ROOT / "lesson/core/strict_json.py"]
    code = "".join(path.read_text(encoding="utf-8") for path in files)
    assert [name for name in ROW_RULES if f'"{name}"' not in code] == []
    used = re.findall(r'(?:Problem|Residual|add_finding)\([^"()]*?"([a-z0-9]+(?:-[a-z0-9]+)+)"', code)
    assert used and set(used) <= ROW_RULES.keys()


@settings(max_examples=100, deadline=None)
@given(st.from_regex(PLACEHOLDER, fullmatch=True))
def test_placeholders_begin_with_a_character_that_the_fast_filter_looks_for(text):
    # Some other letters equal an ASCII letter regardless of case (ſ, the Kelvin sign); no placeholder begins with one.
    assert text.lstrip()[0] in PLACEHOLDER_STARTS
