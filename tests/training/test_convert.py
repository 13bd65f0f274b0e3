"""make convert as make web calls it: a training that is not finished has nothing to convert, and that is no error there."""

from __future__ import annotations

import json

import pytest

from lesson.runs.environment import UNFINISHED
from recipe import convert


@pytest.fixture
def unfinished(tmp_path):
    work_dir = tmp_path / "runs" / "abcdefabcdef" / "work_dir"
    work_dir.mkdir(parents=True)
    (work_dir / "curve.jsonl").write_text(json.dumps({"total": 3}) + "\n")
    return tmp_path


def test_only_for_the_page_a_training_that_is_not_finished_is_passed_over(unfinished, call, monkeypatch):
    arguments = ("--profile", "tiny", "--build", str(unfinished))
    status, _, err = call(convert, *arguments)
    assert status == 2 and "run make train" in err
    monkeypatch.setenv(UNFINISHED, "1")
    assert call(convert, *arguments) == (0, "", "")
    assert call(convert, *arguments, "--run", "abc")[0] == 0
    assert call(convert, *arguments, "--run", "zzz")[0] == 2


def test_where_nothing_was_trained_the_page_says_so(tmp_path, call, monkeypatch):
    monkeypatch.setenv(UNFINISHED, "1")
    status, _, err = call(convert, "--profile", "tiny", "--build", str(tmp_path))
    assert status == 2 and "no training run yet" in err
