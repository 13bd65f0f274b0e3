"""make compare: two runs are told apart by their records, their figures and their curves."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lesson.runs.compare import find_differences
from recipe import compare


@pytest.fixture
def compared(call, build_of_runs):
    return lambda *more: call(compare, "--profile", "tiny", "--build", str(build_of_runs), *more)


def test_fields_that_differ_come_first_and_results_are_not_among_them(compared, build_of_runs):
    status, out, _ = compared("--a", "a", "--b", str(build_of_runs / "runs" / "bbbbbbbbbbbb" / "run.json"))
    assert status == 0
    above, below = out.split("\n\n")
    rows = {line.split()[0]: line.split()[1:] for line in above.splitlines()[1:]}
    assert rows == {"names.new": ["闻星", "奶龙"], "seed": ["42", "7"], "speed": ["-", "fast"]}
    assert "loss curves: identical" in below and "1024" in below


def test_the_largest_loss_difference_and_its_step_are_said(compared, build_of_runs):
    path = build_of_runs / "runs" / "bbbbbbbbbbbb" / "run.json"
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
    assert find_differences(a, a) == []
    there, back = find_differences(a, b), find_differences(b, a)
    assert sorted(map(repr, there)) == sorted(repr((where, x, y)) for where, y, x in back)
