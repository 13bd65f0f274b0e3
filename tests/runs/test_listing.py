"""make runs and make compare: every run is listed, whatever state it is in, and two are told apart by their records."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lesson.core.text import display_width
from lesson.runs import compare
from lesson.runs import listing as list_runs


def record(name: str, finished: str, **changed) -> dict:
    return {
        "finished": finished,
        "profile": "tiny",
        "names": {"old": "尖米", "new": name},
        "seed": 42,
        "inputs": {"config": "a" * 64, "data": "b" * 64},
        "steps": 2,
        "loss": {"first": 4.0, "last": 0.5},
        "seconds": {"wall": 9.0, "steps": 4.0},
        "tokens": 4096,
        "peak_memory": {"host": 1 << 30, "gpu": None},
        "curve": [{"step": 1, "loss": 4.0, "lr": 0.1}, {"step": 2, "loss": 0.5, "lr": 0.1}],
        **changed,
    }


@pytest.fixture
def build(tmp_path):
    """Three finished runs, one of them evaluated and one on a GPU, one stopped at step 1, one with nothing readable."""
    runs = {
        "aaaaaaaaaaaa": record("闻星", "2026-01-02T00:00:00+00:00"),
        "bbbbbbbbbbbb": record("奶龙", "2026-01-03T00:00:00+00:00", seed=7, speed="fast"),
        "cccccccccccc": record("机智流", "2026-01-01T00:00:00+00:00", peak_memory={"host": 1, "gpu": 12 << 30}),
    }
    for name, content in runs.items():
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "run.json").write_text(json.dumps(content))
    (tmp_path / "runs" / "aaaaaaaaaaaa" / "eval").mkdir()
    prompts = [{"questions": 50, "new": 50}, {"questions": 50, "new": 40}]
    (tmp_path / "runs" / "aaaaaaaaaaaa" / "eval" / "evaluation.json").write_text(json.dumps({"prompts": prompts}))
    stopped = tmp_path / "runs" / "dddddddddddd" / "work_dir"
    stopped.mkdir(parents=True)
    line = {"step": 1, "loss": None, "tokens": 1000, "seconds": 0.5}
    (stopped / "curve.jsonl").write_text(json.dumps({"total": 8}) + "\n" + json.dumps(line) + '\n{"st')
    broken = tmp_path / "runs" / "eeeeeeeeeeee"
    broken.mkdir()
    (broken / "run.json").write_text('{"finished": 3')
    (tmp_path / "run").symlink_to("runs/aaaaaaaaaaaa")
    return tmp_path


@pytest.fixture
def listed(call, build):
    status, out, err = call(list_runs, "--profile", "tiny", "--build", str(build), "--format", "json")
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


def test_the_table_shows_each_run_on_a_line_and_marks_the_current(call, build):
    _, out, _ = call(list_runs, "--profile", "tiny", "--build", str(build))
    lines = out.splitlines()
    assert len(lines) == 1 + 5 + 1
    current = next(line for line in lines if "aaaaaaaaaaaa" in line)
    assert current.startswith("*") and "90%" in current and "4.000 → 0.500" in current and "1.00 GiB" in current
    assert "at 1/8" in next(line for line in lines if "dddddddddddd" in line)
    assert sum(line.startswith("*") for line in lines) == 2, "the run, and what the mark means"


def test_no_run_yet_is_said(call, tmp_path):
    status, out, _ = call(list_runs, "--profile", "tiny", "--build", str(tmp_path))
    assert status == 0 and "make train" in out


@given(st.lists(st.lists(st.text("aW闻星 ", max_size=6), min_size=2, max_size=2), min_size=1, max_size=5))
def test_columns_begin_at_the_same_place_on_every_line_whatever_is_in_them(lines):
    wide = max(display_width(first) for first, _ in lines)
    for text, (first, second) in zip(list_runs.table(lines).split("\n"), lines, strict=True):
        assert text == (first + " " * (wide - display_width(first)) + "  " + second).rstrip()


@pytest.fixture
def compared(call, build):
    return lambda *more: call(compare, "--profile", "tiny", "--build", str(build), *more)


def test_fields_that_differ_come_first_and_results_are_not_among_them(compared, build):
    status, out, _ = compared("--a", "a", "--b", str(build / "runs" / "bbbbbbbbbbbb" / "run.json"))
    assert status == 0
    above, below = out.split("\n\n")
    rows = {line.split()[0]: line.split()[1:] for line in above.splitlines()[1:]}
    assert rows == {"names.new": ["闻星", "奶龙"], "seed": ["42", "7"], "speed": ["-", "fast"]}
    assert "loss curves: identical" in below and "1024" in below


def test_the_largest_loss_difference_and_its_step_are_said(compared, build):
    path = build / "runs" / "bbbbbbbbbbbb" / "run.json"
    changed = json.loads(path.read_text())
    changed["curve"][1]["loss"] = 0.75
    path.write_text(json.dumps(changed))
    _, out, _ = compared("--a", "a", "--b", "b")
    assert "first difference at step 2, largest 0.25 at step 2" in out
    _, out, _ = compared("--a", "a", "--b", "b", "--format", "json")
    document = json.loads(out)
    assert document["loss"]["largest"] == 0.25
    assert {"field": "seed", "a": 42, "b": 7} in document["differences"]


@pytest.mark.parametrize(("b", "said"), [("", "B="), ("z", "no such run"), ("d", "make train"), ("e", "JSON")])
def test_what_is_no_finished_run_is_refused_in_one_line(compared, b, said):
    status, _, err = compared("--a", "a", "--b", b)
    assert status == 2 and said in err and err.count("\n") == 1


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.text("ab", max_size=2),
    lambda inner: (
        st.dictionaries(st.text("xy", min_size=1, max_size=2), inner, max_size=3) | st.lists(inner, max_size=2)
    ),
    max_leaves=8,
)


@given(json_values, json_values)
def test_differences_are_none_of_equal_records_and_the_same_seen_from_the_other_side(a, b):
    assert compare.differences(a, a) == []
    there, back = compare.differences(a, b), compare.differences(b, a)
    assert sorted(map(repr, there)) == sorted(repr((where, x, y)) for where, y, x in back)
