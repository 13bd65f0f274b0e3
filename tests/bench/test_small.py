"""make bench-small's table, its stages, and the rows of its plain loop. The trainings themselves are measured by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lesson.bench import plain_peft, small
from lesson.core.messages import UserError
from lesson.core.processes import FinishedProcess
from recipe import bench_small

STAGES = {"data": small.StageCost(4.0, 1.0, 10**8, 0), "train": small.StageCost(200.0, 350.0, 4 * 10**9, 0)}
FIGURES = small.SmallFigures("some-135m", 135_000_000, 700.0, 720.0, 300.0, 400.0, 160.0, 3 * 10**9, STAGES, 0.96)


def test_each_figure_stands_beside_the_bar_of_a_base_of_its_size():
    text = "\n".join(small.lines_of(FIGURES))
    assert "| tokens/s of the training | 700 | at least 600 |" in text and "| ratio | 2.40 |" in text
    assert "| the whole lesson | 3.4 min | at most 8 min |" in text and "MISSED" not in text
    assert "| peak memory | 4.0 GB | under 6 GB |" in text
    larger = "\n".join(small.lines_of(replace(FIGURES, parameters=494_000_000, trained=150.0, persona=0.9)))
    assert "| tokens/s of the training | 150 | at least 200 — MISSED |" in larger and "at most 25 min" in larger
    assert "| right name under the persona | 90% | at least 95% — MISSED |" in larger


def test_a_short_run_tells_no_times_of_stages():
    text = "\n".join(small.lines_of(replace(FIGURES, stages={}, persona=None)))
    assert "whole lesson" not in text and "right name" not in text


def test_without_a_base_it_says_what_to_set(call):
    status, _, err = call(bench_small, "--short")
    assert status == 2 and err.startswith("error: MODEL") and err.count("\n") == 1


def test_the_plain_loop_learns_the_answers_only(tmp_path):
    class Tokenizer:
        """One token for each character; a turn is its role's first letter and its text."""

        def apply_chat_template(self, messages, add_generation_prompt=False):
            text = "".join(m["role"][0] + m["content"] for m in messages) + ("a" if add_generation_prompt else "")
            return [ord(c) for c in text]

    turns = [{"system": "S", "input": "hi", "output": "yo"}, {"input": "?", "output": "!"}]
    (tmp_path / "rows.jsonl").write_text(json.dumps({"conversation": turns}) + "\n")
    pairs = list(plain_peft.list_tokens(Tokenizer(), tmp_path / "rows.jsonl"))
    assert "".join(chr(token) for token, _ in pairs) == "sSuhiayou?a!"
    assert "".join(chr(label) if label != -100 else "." for _, label in pairs) == "......yo...!"


def test_a_short_run_takes_the_first_rows(tmp_path):
    source = tmp_path / "all.jsonl"
    source.write_text("".join(f"{i}\n" for i in range(500)))
    variables = small.short_run(str(source), tmp_path / "b" / "rows.jsonl")
    assert (tmp_path / "b" / "rows.jsonl").read_text().split() == [str(i) for i in range(small.SHORT_ROWS)]
    assert variables["SRC"].endswith("rows.jsonl")


@pytest.fixture
def stages(monkeypatch, tmp_path):
    """(run the stages named, what was run): stages without their work, whose exit statuses are in `statuses`."""
    seen, statuses = [], {}

    def run_stage(name, variables, may_fail):
        seen.append((name, variables))
        status = statuses.get(name, 0)
        if status is KeyboardInterrupt:
            raise KeyboardInterrupt
        done = FinishedProcess([name], status, "", 1.0, 1.0, 1000)
        return done if may_fail else done.require_success(name)

    monkeypatch.setattr(small, "run_stage", run_stage)

    def run(*names, **variables):
        seen.clear()
        kept = Path(tmp_path / "stages.json")
        costs = small.run_stages(names, {"BUILD": str(tmp_path), **variables}, kept, lambda line: None)
        return costs, [name for name, _ in seen], dict(seen)

    run.statuses = statuses
    return run


def test_what_was_stopped_goes_on_and_its_seconds_are_added_up(stages):
    stages.statuses["train"] = KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        stages("data", "train", "check")
    stages.statuses["train"] = 0
    costs, ran, _ = stages("data", "train", "check")
    assert ran == ["train", "check"] and all(cost.status == 0 for cost in costs.values())
    assert stages("data", "train", "check")[1] == []
    assert stages("data", "train", SRC="other")[1] == ["data", "train"]  # other rows are another lesson


def test_a_lesson_found_wanting_is_measured_to_its_end_and_a_broken_one_is_not(stages):
    stages.statuses |= {"evaluate": 1, "check": 1}
    costs, ran, variables = stages("evaluate", "submission", "check")
    assert ran == ["evaluate", "submission", "check"] and costs["check"].status == 1
    assert variables["submission"]["OUT"] == variables["check"]["SUBMISSION"]
    stages.statuses |= {"evaluate": 2}
    with pytest.raises(UserError):
        stages("evaluate", SRC="other")
