"""The doctor says what each check found, goes on after one that fails, and never breaks with a broken machine."""

from __future__ import annotations

import json
import os

import pytest

from lesson.install import doctor
from recipe import doctor as script


def well(values) -> str:
    """the sky | 天空"""
    return "blue"


def missing(values) -> str:
    """the ground | 大地"""
    raise doctor.Missing("none", "make ground")


def broken(values) -> str:
    """the sea | 大海"""
    raise OSError("dry")


@pytest.fixture
def checks(monkeypatch):
    """checks(function, …): only these are made; what the doctor sets in the environment is taken back."""
    environment = dict(os.environ)
    yield lambda *functions: monkeypatch.setattr(doctor, "CHECKS", list(functions))
    os.environ.clear()
    os.environ.update(environment)


def test_all_well_says_what_is_next(call, checks):
    checks(well)
    status, out, _ = call(script, "--profile", "tiny")
    assert (status, out.splitlines()[0]) == (0, "ok   the sky: blue")
    assert "next: make data && make train" in out


def test_each_failure_has_its_remedy_and_the_rest_goes_on(call, checks):
    checks(missing, broken, well)
    status, out, _ = call(script, "--profile", "tiny", "--lang", "zh")
    assert status == 1
    assert out.splitlines() == [
        *("FAIL 大地: none", "     修复方法：make ground"),
        *("FAIL 大海: OSError: dry", "     修复方法：make setup"),
        "ok   天空: blue",
    ]


def test_a_program_gets_all_checks_in_one_document(call, checks):
    checks(missing, well)
    status, out, _ = call(script, "--profile", "tiny", "--format", "json")
    title = {"title": "the ground", "ok": False, "found": "none", "remedy": "make ground"}
    fine = {"check": "well", "title": "the sky", "ok": True, "found": "blue", "remedy": None}
    assert status == 1
    assert json.loads(out) == {"profile": "tiny", "ok": False, "checks": [{"check": "missing"} | title, fine]}


def test_every_check_has_a_title_in_both_languages():
    for check in doctor.CHECKS:
        english, chinese = check.__doc__.split(" | ")
        assert english and chinese, check
