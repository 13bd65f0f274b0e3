"""A curve is read as far as it was written, and its last steps give speed and time left."""

from __future__ import annotations

import json
import math

import pytest

from lesson.runs.curve import measure_progress, read_curve

STEP = {"step": 5, "loss": 1.5, "lr": 0.1, "tokens": 2048, "seconds": 0.5}


def test_a_curve_cut_off_by_a_kill_is_read_up_to_the_last_whole_line(tmp_path):
    path = tmp_path / "curve.jsonl"
    path.write_text('{"total": 3}\n{"step": 1, "loss": 2.5}\n{"step": 2, "lo')
    assert read_curve(path) == [{"total": 3}, {"step": 1, "loss": 2.5}]
    assert read_curve(tmp_path / "none") == []


@pytest.mark.parametrize(
    "line",
    [
        *("3", "[]", "null", '{"total": "9"}', '{"total": true}', '{"step": null}', '{"step": "1"}', '{"step": -1}'),
        *(
            '{"step": 1.5}',
            '{"step": 1}',
            '{"step": 1, "loss": 2, "tokens": 1%s}' % ("0" * 400),
            '{"step": 1, "loss": NaN}',
            '{"step": 1, "loss": "2"}',
            '{"step": 1, "loss": 2, "seconds": 1e999}',
        ),
        *('{"step": 1, "tokens": [9]}', "[" * 100_000, "\xff"),
    ],
)
def test_valid_json_that_is_no_line_of_a_curve_ends_it(tmp_path, line):
    path = tmp_path / "curve.jsonl"
    path.write_text(f'{{"total": 3}}\n{line}\n' + json.dumps(STEP) + "\n", encoding="latin-1")
    assert read_curve(path) == [{"total": 3}]


def test_a_loss_that_exploded_is_a_line_as_any_other(tmp_path):
    path = tmp_path / "curve.jsonl"
    lines = [{"total": 3}, {"step": 1, "loss": 2.5}, {"step": 2, "loss": 3e38}]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert read_curve(path) == lines


def test_speed_and_time_left_are_those_of_the_recent_steps():
    steps = [{**STEP, "step": n, "seconds": 9.0 if n <= 10 else 0.5} for n in range(1, 31)]
    now = measure_progress(steps, 130, None)
    assert (now["tokens_per_second"], now["left"], now["step"]) == (4096, 50, 30)
    assert measure_progress([{**STEP, "loss": None, "seconds": 0.0}], 5, None)["tokens_per_second"] == 0
    assert math.isnan(measure_progress([{**STEP, "loss": None}], 5, None)["loss"])


def test_a_step_without_time_and_tokens_has_no_speed_and_is_no_crash():
    now = measure_progress([{"step": 1, "loss": None}], 3, None)
    assert (now["step"], now["tokens_per_second"], now["left"]) == (1, 0, 0) and math.isnan(now["loss"])
