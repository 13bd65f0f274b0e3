"""The table of the rules of rows: its form, and patterns that the fast filters know."""

from __future__ import annotations

import io
import json
import re

import jsonschema
from hypothesis import given, settings
from hypothesis import strategies as st

from lesson.core.findings import Findings
from lesson.core.settings import ROOT
from lesson.core.text import display_width
from lesson.data.file_rules import IgnoredKeys
from lesson.data.replace import Replacer
from lesson.data.residue import ResidueFinder, scan_rows
from lesson.data.rows import Block
from lesson.data.rules import LONGEST_ASKING, PLACEHOLDER, PLACEHOLDER_STARTS, ROW_RULES, TABLE_FILE, asks_name
from lesson.data.validator import Validator, validate_stream

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


def real_rows() -> dict[tuple[str, str], list[tuple[dict, set[str]]]]:
    """{(name, system prompt): [(row, the rules that a careful reader would want to hear of)]}: real-looking sets."""
    sets: dict[tuple[str, str], list[tuple[dict, set[str]]]] = {}
    for line in (ROOT / "tests/fixtures/real_rows/rows.tsv").read_text(encoding="utf-8").splitlines():
        first, second, *wanted = line.replace("\\n", "\n").split("\t")
        if first.startswith("# "):
            rows = sets.setdefault((first[2:], second), [])
            continue
        turn = {"system": list(sets)[-1][1], "input": first, "output": second}
        rows.append(({"conversation": [turn]}, set(wanted)))
    return sets


def findings_on(name: str, rows: list[dict]) -> list[tuple[int, str, str]]:
    """(line, rule, severity) of all that make check-data and make data find in the rows of an assistant of this name."""
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    findings = Findings(ROW_RULES)
    validate_stream(io.BytesIO(text.encode()), Validator("f", findings, [name]))
    replaced = Replacer([(name, "机智流")]).replace_block(Block(text.encode()), "f", 1)
    scan_rows([ResidueFinder(name, "机智流")], findings, "f", 1, replaced.decode())
    return [(found.line, found.rule, found.severity) for found in findings.kept]


def test_nine_of_ten_warnings_on_real_looking_rows_are_wanted():
    given = wanted = right = rows = 0
    surprising = []
    for (name, _), labelled in real_rows().items():
        found = findings_on(name, [row for row, _ in labelled])
        rows += len(labelled)
        wanted += sum(len(rules) for _, rules in labelled)
        given += len(found)
        for line, rule, severity in found:
            right += (is_right := rule in labelled[line - 1][1])
            if not is_right:
                surprising.append((name, line, rule, labelled[line - 1][0]["conversation"][0]["input"]))
                assert severity == "warning", surprising[-1]
    assert rows >= 200 and given >= 12
    assert right >= 0.9 * given, surprising
    assert right >= 0.9 * wanted


def test_a_key_that_stands_in_one_row_alone_is_told_without_a_count():
    keys = IgnoredKeys()
    for line, key in ((1, "id"), (2, "id"), (2, "id"), (3, "weight")):
        keys.count_key(line, key)
    assert [(line, "in 2 rows" in found.found, "rows" in found.found) for line, found in keys.find()] == [
        (1, True, True),
        (3, False, False),
    ]


def test_a_question_of_at_most_90_columns_may_ask_for_the_name():
    for question in ("what is your name?", "你叫什么名字？"):
        width = display_width(question)
        longest = "a" * (88 - width) + ", " + question
        assert display_width(longest) == LONGEST_ASKING and asks_name(longest)
        assert not asks_name("a" + longest)
