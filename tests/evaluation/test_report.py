"""What make eval shows follows from its result."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from lesson.core.messages import set_language
from lesson.core.settings import Values
from lesson.evaluation.intervals import wilson_interval
from lesson.evaluation.judging import Answer, judge_answer, summarize
from lesson.evaluation.report import draw_evaluation, make_lines, measure_whiskers

NAMES = {"new": "机智流", "old": "尖米"}
PROMPTS = {"persona": "你是机智流。", "none": "", "neutral": "你是助手。"}
FOLDER = Path("run/eval")


def evaluated(text: str) -> tuple[dict, list[dict]]:
    """(result, lines) of an evaluation in which every answer is `text`."""
    answer = Answer(text, True)
    lines = [judge_answer("identity", prompt, {"input": "你是谁？"}, answer, NAMES, "") for prompt in PROMPTS]
    return summarize(lines, PROMPTS, "0" * 12, "merged", NAMES), lines


def test_a_pass_names_the_assistant_and_shows_two_answers():
    lines = make_lines(*evaluated("我是机智流。"), FOLDER)
    assert lines[2] == "persona     1/1   100%      0       0        0/0            1/1"
    assert lines[-4:-2] == ["  [persona] 你是谁？ → 我是机智流。", "  [none] 你是谁？ → 我是机智流。"]
    assert lines[-2:] == [
        "passed: the assistant calls itself 机智流",
        "answers: run/eval/answers.jsonl  figures: run/eval/evaluation.json",
    ]


def test_each_bar_that_is_missed_is_named_in_the_reader_s_language():
    result, answers = evaluated("我是尖米")
    lines = make_lines(result, answers, FOLDER)
    assert "missed: old under none: 100.0%, bar 1%" in lines
    assert (
        lines[-2]
        == "failed: it forgot: halve EPOCHS or LR; the name is not learned: make synth NEW_NAME='机智流' ROWS=3000"
    )
    set_language("zh")
    assert "未达标：none 下的 old：100.0%，标准 1%" in make_lines(result, answers, FOLDER)


def test_the_picture_has_the_same_bytes_for_the_same_result(tmp_path):
    values = Values({"BUILD": str(tmp_path)}, {})
    result, _ = evaluated("我是机智流。")
    for name in ("a.png", "b.png"):
        draw_evaluation(result, tmp_path / name, values)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@given(st.integers(0, 500), st.integers(1, 500))
def test_whiskers_reach_the_ends_of_the_interval_and_are_never_negative(part, whole):
    part = min(part, whole)
    (below,), (above,) = measure_whiskers([(part, whole)])
    low, high = wilson_interval(part, whole)
    assert below >= 0 and above >= 0
    assert abs(part / whole - below - low) < 1e-9 and abs(part / whole + above - high) < 1e-9


def test_where_nothing_was_asked_there_is_no_whisker():
    assert measure_whiskers([(0, 0), (2, 2)])[0][0] == measure_whiskers([(0, 0)])[1][0] == 0
