"""The table of checks: each is there once, in the order of verdicts, with a line in two languages."""

from __future__ import annotations

import importlib

from verdicts import shipped_rubric

from lesson.submission.registry import TABLE, Check, check_names, load_checks


def test_every_check_has_a_line_in_two_languages_and_the_rubric_names_only_checks():
    for item in load_checks():
        en, zh = item.function.__doc__.strip().split(" | ")
        assert en and zh
    assert set(shipped_rubric()["required"]) <= {item.name for item in load_checks()}


def test_the_table_has_each_check_of_each_file_once_and_those_that_it_needs_above_it():
    files = {file: importlib.import_module(f"lesson.submission.checks.{file}") for _, file, _ in TABLE}
    defined = [value.name for module in files.values() for value in vars(module).values() if isinstance(value, Check)]
    assert sorted(check_names()) == sorted(defined)
    assert [(check.area, check.name) for check in load_checks()] == [
        (area, name) for area, _, names in TABLE for name in names.split()
    ]
    for index, check in enumerate(load_checks()):
        assert set(check.after) <= set(check_names()[:index]), check.name
