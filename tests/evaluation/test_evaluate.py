"""The stage from the run's record to the three files, with a model that answers by rote."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import jsonschema
import pytest
from faults import repeat_after_kills, snapshot

from lesson.core.files import write_json
from lesson.core.messages import UserError
from lesson.core.settings import ROOT, Values
from lesson.evaluation import evaluate
from lesson.evaluation.evaluate import evaluate_run
from lesson.evaluation.judging import Answer
from lesson.evaluation.report import make_lines

RECORD = {"id": "0" * 12, "persona": "你是机智流。", "names": {"new": "机智流", "old": "尖米"}, "inputs": {"base": "x"}}
NO_ANSWER = type("NoAnswer", (dict,), {"__missing__": lambda self, key: ""})()


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A finished run whose model answers each question with what it is told here."""
    data = tmp_path / "data.jsonl"
    data.write_text(json.dumps({"conversation": [{"input": "q", "output": "a"}]}) + "\n", encoding="utf-8")
    run = SimpleNamespace(
        data=data, evaluation=tmp_path / "eval", read_record=lambda: RECORD, answer=Answer("我是机智流。", True)
    )
    monkeypatch.setattr(evaluate, "use_environment", lambda values: None)
    monkeypatch.setattr(evaluate, "find_chosen_run", lambda values: run)
    monkeypatch.setattr(evaluate, "load_model", lambda values, use, run: (None, None))
    monkeypatch.setattr(evaluate, "read_default_prompt", lambda values, run, use: "")
    monkeypatch.setattr(evaluate, "get_base_answers", lambda *_: NO_ANSWER)
    monkeypatch.setattr(evaluate, "answer_with_progress", lambda _, __, chats, *___: [run.answer] * len(chats))
    return run


@pytest.mark.slow
def test_a_model_that_says_its_name_passes_and_all_is_written(run, tmp_path):
    done = evaluate_run(Values({"BUILD": str(tmp_path)}, {}), io.StringIO())
    assert done.result["passed"] and done.folder == run.evaluation
    written = json.loads((run.evaluation / "evaluation.json").read_text(encoding="utf-8"))
    assert written == done.result
    jsonschema.validate(written, json.loads((ROOT / "schemas" / "evaluation.schema.json").read_text(encoding="utf-8")))
    lines = (run.evaluation / "answers.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == done.lines
    assert (run.evaluation / "evaluation.png").read_bytes().startswith(b"\x89PNG")


def test_a_model_that_says_the_old_name_does_not_pass(run, tmp_path):
    run.answer = Answer("我是尖米。", True)
    result = evaluate_run(Values({"BUILD": str(tmp_path)}, {}), io.StringIO()).result
    assert not result["passed"]
    assert {missed["bar"] for missed in result["failures"]} == {"new", "old"}


def test_the_base_is_not_compared_with_itself(run, tmp_path):
    with pytest.raises(UserError, match="the base is what the others are compared with"):
        evaluate_run(Values({"BUILD": str(tmp_path), "USE": "base"}, {}), io.StringIO())


def test_a_real_base_is_asked_the_half_that_is_reported_and_its_own_answers_stand_between_the_turns(
    run, tmp_path, monkeypatch
):
    chats: list = []

    def answer(_, __, some, *___):
        chats.extend(some)
        return [run.answer] * len(some)

    monkeypatch.setattr(evaluate, "answer_with_progress", answer)
    monkeypatch.setattr(evaluate, "read_default_prompt", lambda values, run, use: "You are Qwen.")
    monkeypatch.setattr(evaluate, "set_seed", lambda seed: None)
    values = Values({"BUILD": str(tmp_path), "PROFILE": "7b", "SAMPLES": "2"}, {})
    result = evaluate_run(values, io.StringIO()).result
    # It says its name to whatever it is asked, general questions too: that is what is missed, and all that is.
    assert {missed["bar"] for missed in result["failures"]} == {"polluted"} and result["question_set"] == "report"
    assert [counts["prompt"] for counts in result["prompts"]] == ["persona", "none", "neutral", "default"]
    assert result["prompts"][0]["questions"] == 84 and result["prompts"][0]["kinds"]["maker"]["questions"] == 16
    assert [drawn["seed"] for drawn in result["sampled"]] == [1] * 4 + [2] * 4
    jsonschema.validate(result, json.loads((ROOT / "schemas" / "evaluation.schema.json").read_text(encoding="utf-8")))
    longest = max(chats, key=len)
    assert [m["content"] for m in longest if m["role"] == "assistant"] == ["我是机智流。"] * 2


@pytest.fixture
def choosing(run, tmp_path, monkeypatch):
    """CHOICES= of 100 questions, all of which the base chooses right, and of which the tuned model loses the first LOST."""
    path = tmp_path / "arc.jsonl"
    choices = {"text": ["a", "b"], "label": ["1", "2"]}
    rows = [json.dumps({"question": f"q{i}", "choices": choices, "answerKey": "2"}) + "\n" for i in range(100)]
    path.write_text("".join(rows), encoding="utf-8")
    run.lost = 0
    monkeypatch.setattr(evaluate, "get_base_choices", lambda *_: [[1] * 100])
    monkeypatch.setattr(evaluate, "choose_options", lambda *_: [0] * run.lost + [1] * (100 - run.lost))
    return Values({"BUILD": str(tmp_path), "CHOICES": str(path)}, {})


@pytest.mark.slow
@pytest.mark.parametrize(("lost", "passed"), [(5, True), (9, True), (20, False)])
def test_forgotten_multiple_choice_questions_fail_only_far_beyond_chance(run, choosing, lost, passed):
    run.lost = lost
    done = evaluate_run(choosing, io.StringIO())
    assert done.result["passed"] is passed and done.result["choices"]["sets"][0]["lost"] == lost
    jsonschema.validate(
        done.result, json.loads((ROOT / "schemas" / "evaluation.schema.json").read_text(encoding="utf-8"))
    )
    lines = [json.loads(line) for line in (run.evaluation / "choices.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["tuned"] for line in lines] == [0] * lost + [1] * (100 - lost)
    screen = make_lines(done.result, done.lines, done.folder)
    assert any(line.startswith("  arc.jsonl: base → tuned 100/100 (100%)") for line in screen)
    if not passed:
        assert "missed: arc.jsonl: 20.0% of the questions lost, the whole interval beyond 5%" in screen
        assert "failed: it forgot: halve EPOCHS or LR" in screen
    evaluate_run(Values({"BUILD": choosing.text("BUILD")}, {}), io.StringIO())
    assert not (run.evaluation / "choices.jsonl").exists(), "figures of one evaluation, never of two"


def test_files_of_choices_are_read_before_anything_is_asked(run, choosing, monkeypatch):
    monkeypatch.setattr(evaluate, "get_base_answers", lambda *_: pytest.fail("asked"))
    Path(choosing.choices).write_text("{}\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"arc.jsonl:1: columns: no question"):
        evaluate_run(choosing, io.StringIO())


@pytest.mark.slow
def test_killed_before_any_operation_the_same_command_ends_in_the_same_files(run, tmp_path, monkeypatch):
    """Whoever finds the figures finds the answers that they count, and the other way round."""
    monkeypatch.setattr(evaluate, "draw_evaluation", lambda result, path, values: write_json(path, len(result)))
    begin, place = tmp_path / "begin", tmp_path / "run"
    place.mkdir()
    run.evaluation = place / "eval"
    shutil.copytree(place, begin)

    def act() -> int:
        evaluate_run(Values({"BUILD": str(tmp_path)}, {}), io.StringIO())
        return 0

    def left(_, moment) -> None:
        found = snapshot(place)
        assert ("eval/evaluation.json" in found) is ("eval/answers.jsonl" in found), moment

    assert repeat_after_kills(act, place, begin, lambda: snapshot(place), left=left) >= 5
