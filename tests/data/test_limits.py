"""The limits and thresholds by which rows are judged: a change of one is a decision, so it is made here too."""

from __future__ import annotations

import importlib

import pytest

KIB = 1024
MIB = 1024 * KIB
LIMITS = {
    "accepted": {"MOST_PLACES": 100_000},
    "file_rules": {
        "REMEMBERED": 100_000,
        "MOST_PROMPTS": 1_000,
        "MOST_KEYS": 1_000,
        "FEWEST_SPEAKING": 30,
        "SILENT_SHARE": 33,
        "LISTED_LINES": 100,
        "FEWEST_ROWS": 100,
    },
    "formats": {"LONGEST_PAIR_KEY": 8},
    "loader_columns": {"CHUNK": 10 * MIB, "DEEPEST_TYPE": 4},
    "near_duplicates": {"COMPARABLE": 60, "COMPARED_TEXT": 2_000, "SIMILAR": 0.9},
    "questions": {"MOST_QUESTIONS": 1_000_000},
    "replace_files": {"MOST_JOBS": 64},
    "residue": {"FEWEST_LETTERS": 3},
    "rows": {"LONGEST_LINE": 1 * MIB},
    "rules": {"LONGEST_ASKING": 90},
    "sources": {"LARGEST_DOCUMENT": 64 * MIB},
    "tables": {"MOST_COLUMNS": 64, "LARGEST_UNPACKED": 64 * MIB, "LONGEST_HEADER": 10_000},
    "validator": {"HEAD": 4 * KIB},
}


@pytest.mark.parametrize("module", LIMITS)
def test_limits_are_those_that_were_decided(module):
    there = importlib.import_module(f"lesson.data.{module}")
    assert {name: getattr(there, name) for name in LIMITS[module]} == LIMITS[module]
