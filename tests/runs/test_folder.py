"""A run is found by what went in."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lesson.core.messages import UserError
from lesson.core.settings import ROOT, Values
from lesson.runs.folder import Run, find_last_run, make_run_id, set_last_run


@given(st.dictionaries(st.sampled_from(["config", "data", "base"]), st.text(max_size=5)))
def test_a_run_s_id_depends_on_each_input_and_not_on_their_order(inputs):
    first = make_run_id(inputs, None)
    assert first == make_run_id(dict(reversed(inputs.items())), None)
    others = [make_run_id({**inputs, key: inputs[key] + "x"}, None) for key in inputs]
    others += [make_run_id(inputs, "deepspeed_zero2"), make_run_id(inputs, None, processes=2)]
    assert len({first, *others}) == 1 + len(others)


def test_a_run_s_id_is_the_one_that_runs_have_had_from_the_start():
    """Runs are found again by it, and records that were handed in name it."""
    record = json.loads((ROOT / "tests" / "fixtures" / "submission" / "run.json").read_text(encoding="utf-8"))
    assert make_run_id(record["inputs"], record["deepspeed"], record.get("processes", 1)) == record["id"]


def test_the_link_to_the_last_run_moves(tmp_path):
    for name in ("a", "b", "a"):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True, exist_ok=True)
        set_last_run(tmp_path, Run(folder))
        assert (tmp_path / "run").resolve() == folder.resolve()


def test_where_another_profile_has_a_run_it_is_named(tmp_path, monkeypatch):
    """`make chat` after `make all PROFILE=small`: BUILD follows the profile."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"run make train$"):
        find_last_run(Values({"PROFILE": "tiny"}, {}))
    folder = tmp_path / "build" / "small" / "runs" / "a"
    folder.mkdir(parents=True)
    set_last_run(tmp_path / "build" / "small", Run(folder))
    with pytest.raises(UserError, match=r"or set PROFILE=small, where build/small has a run$"):
        find_last_run(Values({"PROFILE": "tiny"}, {}))
    with pytest.raises(UserError, match=r"run make train$"):
        find_last_run(Values({"PROFILE": "tiny", "BUILD": "build/tiny"}, {}))
