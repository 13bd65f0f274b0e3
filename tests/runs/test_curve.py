"""A curve is read as far as it was written."""

from __future__ import annotations

from lesson.runs.curve import read_curve


def test_a_curve_cut_off_by_a_kill_is_read_up_to_the_last_whole_line(tmp_path):
    path = tmp_path / "curve.jsonl"
    path.write_text('{"total": 3}\n{"step": 1, "loss": 2.5}\n{"step": 2, "lo')
    assert read_curve(path) == [{"total": 3}, {"step": 1, "loss": 2.5}]
    assert read_curve(tmp_path / "none") == []
