"""The settings table: its form, and what each kind of check accepts."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest

from lesson.core import settings
from lesson.core.messages import UserError
from lesson.core.settings import GPUS, KINDS, KINDS_WITH_LIMITS, ROOT, SETTINGS, TABLE_FILE, TRAINING, Values

TABLE = json.loads(TABLE_FILE.read_text(encoding="utf-8"))
SCHEMA = json.loads((ROOT / "schemas/settings.schema.json").read_text(encoding="utf-8"))


def test_the_table_has_the_form_of_its_schema():
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    jsonschema.Draft7Validator(SCHEMA).validate(TABLE)
    assert (
        set(SCHEMA["definitions"]["setting"]["properties"]["kind"]["enum"]) == KINDS.keys() | KINDS_WITH_LIMITS.keys()
    )


def test_no_variable_stands_twice_and_named_lists_are_used():
    names = [entry["name"] for entry in TABLE["settings"]]
    assert len(names) == len(set(names)) == len(SETTINGS)
    named = {entry["choices"] for entry in TABLE["settings"] if isinstance(entry.get("choices"), str)}
    assert named == set(TABLE["lists"])


def test_parameters_of_training_are_settings_and_unset_by_default():
    assert len(TRAINING) == 24 and all(SETTINGS[s.name] is s and s.parse("") is None for s in TRAINING)


def test_help_with_a_range_names_the_range_that_is_checked():
    for entry in TABLE["settings"]:
        told = re.search(r"\(?([\d.e-]+) to ([\d.e-]+)\)?", entry["en"])
        if told and "range" in entry:
            assert [float(told[1]), float(told[2])] == [float(x) for x in entry["range"]], entry["name"]
        for language in ("en", "zh"):
            assert ("{choices}" in entry[language]) == isinstance(entry.get("choices"), str)


@pytest.mark.parametrize(
    ("text", "memory"), [("A100-30%", 24), ("a100", 80), ("24", 24), ("RTX4090", 24), ("50%", None)]
)
def test_a_gpu_is_a_name_a_share_or_a_number_of_gb(text, memory):
    if memory is None:
        with pytest.raises(UserError, match=", ".join(list(GPUS)[:3])):
            _ = Values({"GPU": text}, {}).gpu
    else:
        assert Values({"GPU": text}, {}).gpu == memory


def test_an_older_python_reads_the_table_and_can_say_which_one_is_needed():
    """`make setup` under Python 3.10 names the Python that is needed: so settings.py imports nothing newer."""
    assert "tomllib" not in (ROOT / "lesson/core/settings.py").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("driver", "given", "profile"),
    [
        (True, {"MODEL": "x"}, "7b"),
        (False, {"MODEL": "x"}, "small"),
        (False, {}, "tiny"),
        (False, {"MODEL": "x", "PROFILE": "tiny"}, "tiny"),
    ],
)
def test_the_profile_is_what_suits_machine_and_base(driver, given, profile, monkeypatch):
    monkeypatch.setattr(settings, "has_nvidia_driver", lambda: driver)
    values = Values({}, given)
    assert values.profile == profile and values.build == Path("build") / profile
    # Later commands without MODEL find the same folder only if they are told: what to say to them.
    assert values.unspoken_profile == ("PROFILE=small" if profile == "small" else "")
    assert not Values({}, {**given, "BUILD": "b"}).unspoken_profile
