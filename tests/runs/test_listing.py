"""make runs: every run is listed, whatever state it is in."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lesson.core.text import display_width
from lesson.runs.listing import align_columns
from recipe import list_runs


@pytest.fixture
def listed(call, build_of_runs):
    status, out, err = call(list_runs, "--profile", "tiny", "--build", str(build_of_runs), "--format", "json")
    assert (status, err) == (0, "")
    return json.loads(out)


def test_every_run_is_listed_newest_first_and_one_is_the_current(listed):
    assert {run["id"][0] for run in listed[:2]} == {"d", "e"}, "written just now"
    assert [run["id"][0] for run in listed[2:]] == ["b", "a", "c"]
    assert [run["id"][0] for run in listed if run["current"]] == ["a"]


def test_the_key_figures_are_those_of_the_record_the_curve_and_the_evaluation(listed):
    runs = {run["id"][0]: run for run in listed}
    assert runs["a"]["identity"] == 0.9
    assert runs["a"]["tokens_per_second"] == 1024
    assert (runs["b"]["seed"], runs["b"]["speed"], runs["b"]["name"]) == (7, "fast", "奶龙")
    assert runs["c"]["peak_memory"] == 12 << 30, "the GPU's, where one was used"
    stopped = runs["d"]
    assert (stopped["finished"], stopped["step"], stopped["steps"], stopped["loss"]) == (False, 1, 8, [None, None])
    assert stopped["tokens_per_second"] == 2000
    assert (runs["e"]["finished"], runs["e"]["steps"]) == (False, None)


def test_the_table_shows_each_run_on_a_line_and_marks_the_current(call, build_of_runs):
    _, out, _ = call(list_runs, "--profile", "tiny", "--build", str(build_of_runs))
    lines = out.splitlines()
    assert len(lines) == 1 + 5 + 3
    current = next(line for line in lines if "aaaaaaaaaaaa" in line)
    assert current.startswith("*") and "90%" in current and "4.000 → 0.500" in current and "1.00 GiB" in current
    assert "diverged at 1" in next(line for line in lines if "dddddddddddd" in line), "its loss is no number"
    assert lines[-2].startswith("at a step:") and "make train" in lines[-2] and "LR" in lines[-1]
    assert sum(line.startswith("*") for line in lines) == 2, "the run, and what the mark means"


def test_an_unfinished_run_whose_loss_is_a_number_shows_how_far_it_came(call, build_of_runs):
    curve = build_of_runs / "runs" / "dddddddddddd" / "work_dir" / "curve.jsonl"
    curve.write_text(curve.read_text().replace("null", "2.5"))
    _, out, _ = call(list_runs, "--profile", "tiny", "--build", str(build_of_runs))
    assert "at 1/8" in next(line for line in out.splitlines() if "dddddddddddd" in line)
    assert "diverged" not in out


def test_no_run_yet_is_said(call, tmp_path):
    status, out, _ = call(list_runs, "--profile", "tiny", "--build", str(tmp_path))
    assert status == 0 and "make train" in out


@given(st.lists(st.lists(st.text("aW闻星 ", max_size=6), min_size=2, max_size=2), min_size=1, max_size=5))
def test_columns_begin_at_the_same_place_on_every_line_whatever_is_in_them(lines):
    wide = max(display_width(first) for first, _ in lines)
    for text, (first, second) in zip(align_columns(lines), lines, strict=True):
        assert text == (first + " " * (wide - display_width(first)) + "  " + second).rstrip()
