"""RUN= chooses a run, and what is said where somebody may think of another one."""

from __future__ import annotations

import json

import pytest

from lesson.core.layout import changed_rows
from lesson.core.messages import UserError
from lesson.core.records import Record
from lesson.core.settings import Values
from lesson.runs import folder
from lesson.runs.chosen import find_chosen_run, lines_of_choice


@pytest.fixture(autouse=True)
def short_records(monkeypatch):
    """The records of these runs are not whole ones."""
    monkeypatch.setattr(folder, "read_document", lambda path, schema, remedy: json.loads(path.read_text()))


def values(build, **given: str) -> Values:
    return Values({"PROFILE": "tiny", "BUILD": str(build), **given}, {})


def test_without_run_the_last_one_is_taken_and_with_it_the_one_it_names(build_of_runs):
    assert find_chosen_run(values(build_of_runs)).folder.name == "aaaaaaaaaaaa"
    assert find_chosen_run(values(build_of_runs, RUN="bb")).folder.name == "bbbbbbbbbbbb"
    place = build_of_runs / "runs" / "cccccccccccc"
    assert find_chosen_run(values(build_of_runs, RUN=str(place))).folder == place


@pytest.mark.parametrize("text", ["dddd", "zz", "no/such/folder"])
def test_a_run_that_is_not_there_or_not_finished_is_an_error_that_names_make_runs(build_of_runs, text):
    with pytest.raises(UserError, match=text) as refused:
        find_chosen_run(values(build_of_runs, RUN=text))
    assert "make runs" in refused.value.remedy


def write_rows(build, name: str) -> None:
    rows = changed_rows(build)
    rows.parent.mkdir(exist_ok=True)
    with Record(rows, {}, {"replaced": [["尖米", name]]}).write_file() as file:
        file.write("{}")


def test_rows_for_another_name_than_the_last_run_s_are_told(build_of_runs):
    assert lines_of_choice(values(build_of_runs)) == []
    write_rows(build_of_runs, "闻星")
    assert lines_of_choice(values(build_of_runs)) == []
    write_rows(build_of_runs, "小海豚")
    (line,) = lines_of_choice(values(build_of_runs))
    assert all(word in line for word in ("aaaaaaaaaaaa", "闻星", "小海豚", "make train"))


def test_a_chosen_run_is_named_whatever_the_rows_are(build_of_runs):
    write_rows(build_of_runs, "小海豚")
    assert lines_of_choice(values(build_of_runs, RUN="b")) == ["run bbbbbbbbbbbb: 奶龙"]


def test_no_run_or_a_broken_record_says_nothing_here(tmp_path, build_of_runs):
    assert lines_of_choice(values(tmp_path)) == []
    assert lines_of_choice(values(build_of_runs, RUN="eeee")) == []
