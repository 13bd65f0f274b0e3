"""The limits and thresholds by which submissions are judged: a change of one is a decision, so it is made here too."""

from __future__ import annotations

import importlib

import pytest

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
LIMITS = {
    "archive.tar_file": {"LARGEST_EXTENSION": 64 * KIB, "MOST_UNPACKED": 4 * GIB},
    "archive.view": {
        "LARGEST": 1 * GIB,
        "LARGEST_UNREAD": 64 * GIB,
        "MOST_FILES": 2_000,
        "LONGEST_NAME": 255,
        "DEEPEST_FOLDER": 12,
        "HIGHEST_RATIO": 300,
        "SMALL": 10 * MIB,
        "CHUNK": 1 * MIB,
    },
    "archive.zip_file": {"LARGEST_DIRECTORY": 4 * MIB},
    "blame": {"NEAR_LIMIT": 0.75},
    "checks.answers": {"LEAST_DISTINCT": 5, "MANY": 40, "LEAST_SHARE": 0.05, "MOST_DISTINCT": 50},
    "checks.data": {"MOST_COMMON": 0.02},
    "checks.rerun": {"LEAST_ALIKE": 0.9, "MOST_OF_THE_BASES": 0.5, "MOST_GENERAL": 0.5, "ALWAYS": 0.9, "HARDLY": 0.2},
    "checks.retrain": {"DIGITS": 0.0001, "SAME_BUT_ROUNDED": 0.9999, "LEAST_ELSEWHERE": 0.7},
    "checks.run": {
        "FELL": 0.7,
        "LEARNT": 0.25,
        "WINDOW": 10,
        "ABOUT": 0.35,
        "FASTEST": {"gpu": 5000000000000000.0, "cpu": 20000000000000.0},
    },
    "documents": {"LARGEST_INTEGER": 18_446_744_073_709_551_616},
    "evidence": {
        "LARGEST_DOCUMENT": 8 * MIB,
        "LARGEST_LOG": 64 * MIB,
        "LARGEST_LIST": 32 * MIB,
        "LARGEST_ROWS": 64 * MIB,
        "MOST_LINES": 200_000,
        "MOST_TURNS": 8,
    },
    "likeness": {
        "PROJECTED": 6,
        "SEED": 16,
        "MOST_POINTS": 2_000,
        "WINDOW": 10,
        "FEWEST": 8,
        "GRAM": 3,
        "ENOUGH": 0.25,
        "MOST_MODULES": 4_000,
        "MOST_SIZES": 64,
        "LARGEST_SIDE": 1 * MIB,
        "EMPTY": 4_294_967_295,
        "BINS": 512,
        "LONGEST_ANSWERS": 4 * MIB,
        "ALIKE": {"adapter": 0.995, "losses": 0.9, "means": 0.985, "times": 0.8, "answers": 0.97},
        "EXACT": 0.999,
        "EQUAL": 0.999999999,
    },
    "naming": {"LONGEST_NAME": 64, "LEAST_SHARE": 0.05},
    "plain_folder": {
        "MOST_CONFIGS": 16,
        "MOST_ROWS": 50,
        "MOST_LOG_BYTES": 16 * MIB,
        "MOST_LOG_LINES": 200_000,
        "LARGEST_JSON": 8 * MIB,
        "SAMPLE": 4 * MIB,
    },
    "registry": {"SHOWN": 20},
    "sessions": {"MOST_SESSIONS": 20},
    "training_facts": {"LONGEST_FIGURE": 40},
    "training_rows": {"LARGEST_DOCUMENT": 32 * MIB, "HEAD": 4 * KIB},
    "verdict": {"MOST_POINTS": 1_000, "MOST_ANSWERS": 60, "LONGEST_PATH": 300},
}


@pytest.mark.parametrize("module", LIMITS)
def test_limits_are_those_that_were_decided(module):
    there = importlib.import_module(f"lesson.submission.{module}")
    assert {name: getattr(there, name) for name in LIMITS[module]} == LIMITS[module]
