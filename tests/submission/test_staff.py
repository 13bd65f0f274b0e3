"""What the staff's settings add to a submission."""

from __future__ import annotations

import json

import pytest

from lesson.core.messages import UserError
from lesson.core.settings import Values
from lesson.model.known_bases import SIZES_7B
from lesson.submission.staff import StaffInputs, names_given, read_staff_inputs


def test_without_settings_the_staff_add_nothing(monkeypatch):
    assert read_staff_inputs(Values({})) == StaffInputs(published=read_staff_inputs(Values({})).published)
    assert read_staff_inputs(Values({})).source is None and names_given(Values({})) == {}


def test_rows_and_a_base_that_are_named_are_there(tmp_path, monkeypatch):
    (tmp_path / "rows.jsonl").write_text("{}\n")
    (tmp_path / "config.json").write_text(json.dumps({**SIZES_7B, "model_type": "internlm2"}))
    monkeypatch.setenv("SOURCE", str(tmp_path / "rows.jsonl"))
    monkeypatch.setenv("MODEL", str(tmp_path))
    found = read_staff_inputs(Values({}))
    assert found.source == str(tmp_path / "rows.jsonl") and found.base.hidden == SIZES_7B["hidden_size"]
    for name, told in (("SOURCE", "set SOURCE"), ("MODEL", "set MODEL")):
        with monkeypatch.context() as other:
            other.setenv(name, str(tmp_path / "gone"))
            with pytest.raises(UserError, match=told):
                read_staff_inputs(Values({}))


def test_only_names_that_were_typed_count(monkeypatch):
    monkeypatch.setenv("NEW_NAME", "闻星")
    assert names_given(Values({})) == {"new": "闻星"}
    monkeypatch.setenv("OLD_NAME", "小明")
    assert names_given(Values({})) == {"new": "闻星", "old": "小明"}


def test_published_runs_are_those_that_are_named(monkeypatch):
    asked = []
    monkeypatch.setattr("lesson.submission.published.load_published", lambda path: asked.append(path) or ())
    read_staff_inputs(Values({}))
    monkeypatch.setenv("PUBLISHED", "some/folder")
    read_staff_inputs(Values({}))
    assert asked == [None, "some/folder"]
