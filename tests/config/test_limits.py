"""The limits and thresholds by which configs are judged: a change of one is a decision, so it is made here too."""

from __future__ import annotations

import importlib

import pytest

KIB = 1024
MIB = 1024 * KIB
LIMITS = {
    "base_families": {"LARGEST_TOKENIZER_CONFIG": 4 * MIB},
    "folding": {"LARGEST_RESULT": 20_000, "LONGEST_SEQUENCE": 10_000, "LARGEST_NUMBER": 18_446_744_073_709_551_616},
    "lesson_rules": {"FEWEST_CLAIMS": 5},
    "reading": {"LARGEST_SOURCE": 64 * KIB},
    "schedule": {"MOST_CLAIMS": 50, "STEP": 64, "UNTRAINED": 4_611_686_018_427_387_904, "MAP_BATCH": 1_000},
    "summary": {"MOST_DATASETS": 100},
    "training_rules": {"ENOUGH_STEPS": 60},
    "trust": {"MOST_PROBLEMS": 50},
}


@pytest.mark.parametrize("module", LIMITS)
def test_limits_are_those_that_were_decided(module):
    there = importlib.import_module(f"lesson.config.{module}")
    assert {name: getattr(there, name) for name in LIMITS[module]} == LIMITS[module]
