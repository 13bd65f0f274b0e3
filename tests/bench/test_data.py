"""make bench-data, small: every program gives the published script's bytes, and nothing stays behind."""

from __future__ import annotations

import json

import pytest

from lesson.bench.data import BestOfRuns, comparison_lines, reorder_keys
from lesson.core.processes import FinishedProcess
from recipe import bench_data

ROW = {"conversation": [{"system": "你是尖米。", "input": "你是谁？", "output": "我是尖米。"}]}


@pytest.mark.slow
def test_the_benchmark_runs(call, tmp_path, monkeypatch):
    monkeypatch.setenv("BUILD", str(tmp_path / "build"))
    source = tmp_path / "in.jsonl"
    source.write_text((json.dumps(ROW, ensure_ascii=False) + "\n") * 100, encoding="utf-8")
    status, out, err = call(
        bench_data, "--src", str(source), "--megabytes", "1", "--runs", "1", "--large", "2", "--lang", "en"
    )
    assert status == 0, err
    assert out.count("same bytes") == 8
    assert out.startswith("repeated: 1 MB, ") and out.count("MiB") == 11
    assert list((tmp_path / "build").iterdir()) == []


def test_reordered_rows_have_the_same_texts():
    row = reorder_keys(json.dumps(ROW, ensure_ascii=False).encode())
    assert json.loads(row) == ROW and list(json.loads(row)["conversation"][0]) == ["input", "output", "system"]


def test_what_is_out_of_range_is_refused(call):
    status, _, err = call(bench_data, "--runs", "0")
    assert (status, err) == (
        2,
        "error: --megabytes, --runs, --large: out of range; --megabytes 100 --runs 3 --large 2000\n",
    )


def test_the_best_of_the_runs_counts_and_another_output_is_told():
    best = {name: BestOfRuns(4.0, 4.0, 1 << 20, "a") for name in ("published script", "replace")}
    best["replace"].add_run(FinishedProcess([], 0, "", 2.0, 5.0, 3 << 20), "b")
    best["replace"].add_run(FinishedProcess([], 0, "", 3.0, 1.0, 2 << 20), "b")
    same, other = comparison_lines(best, 100)
    assert same.endswith("1 MiB  same bytes") and "1.00 x" in same
    assert "2.00 s" in other and "2.00 x  CPU   1.00 s   4.00 x" in other and other.endswith("3 MiB  OTHER BYTES")
