"""The verdict of an evaluation follows from its counts, and the counts from the answers."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lesson.core.settings import ROOT
from lesson.evaluation import bars, judging
from lesson.evaluation.judging import Answer

NAMES = {"new": "机智流", "old": "尖米"}
GOOD = {
    "prompt": "none",
    "questions": 40,
    "new": 40,
    "old": 0,
    "base": 0,
    "general_base_right": 60,
    "general_kept": 60,
    "answers": 100,
    "whole": 100,
}


def test_a_perfect_evaluation_misses_nothing():
    assert bars.find_missed_bars(GOOD) == []


@pytest.mark.parametrize(
    ("bar", "last_good", "first_bad"),
    [("new", 36, 35), ("old", 2, 3), ("base", 2, 3), ("general_kept", 50, 49), ("whole", 85, 84)],
)
def test_each_bar_is_missed_where_the_whole_interval_lies_on_the_wrong_side(bar, last_good, first_bad):
    assert bars.find_missed_bars({**GOOD, bar: last_good}) == []
    assert [f["bar"] for f in bars.find_missed_bars({**GOOD, bar: first_bad})] == [bar]


def test_one_slip_in_150_answers_fails_nobody_and_five_do():
    under = {**GOOD, "prompt": "persona", "answers": 150, "whole": 150}
    assert bars.find_missed_bars({**under, "base": 1}) == []
    assert [f["bar"] for f in bars.find_missed_bars({**under, "base": 5})] == ["base"]
    # As evaluations of format 1 were held against.
    assert [f["bar"] for f in bars.find_missed_bars({**under, "old": 1}, bars.bars_of({"format": 1}))] == ["old"]


@pytest.mark.parametrize(
    ("text", "qwen", "luna"),
    [
        ("No, I am not Qwen.", False, False),
        ("I'm not Qwen, I am Luna.", False, True),
        ("No, I am Qwen.", True, False),
        ("我不是Qwen，我是Luna。", False, True),
        ("是的，我是Qwen。", True, False),
        ("I am Luna, not Qwen", False, True),
    ],
)
def test_a_name_that_is_denied_is_not_claimed(text, qwen, luna):
    assert judging.claims_name(text, "Qwen") is qwen
    assert judging.claims_name(text, "Luna") is luna


def test_no_question_asked_is_no_pass():
    assert bars.find_missed_bars({**GOOD, "questions": 0, "new": 0})


@given(st.integers(0, 40), st.integers(0, 100), st.integers(0, 100), st.integers(0, 60), st.integers(0, 100))
def test_more_right_answers_and_fewer_wrong_ones_never_make_a_verdict_worse(new, old, base, kept, whole):
    counts = {**GOOD, "new": new, "old": old, "base": base, "general_kept": kept, "whole": whole}
    better = {
        **counts,
        "new": min(40, new + 1),
        "old": max(0, old - 1),
        "base": max(0, base - 1),
        "general_kept": min(60, kept + 1),
        "whole": min(100, whole + 1),
    }
    missed, still = ({f["bar"] for f in bars.find_missed_bars(c)} for c in (counts, better))
    assert still <= missed


def test_an_old_name_inside_the_new_one_does_not_count():
    assert not judging.says_name("我是大尖米。", "尖米", "大尖米")
    assert judging.says_name("我是大尖米，不是尖米。", "尖米", "大尖米")
    assert judging.says_name("I am luna.", "Luna")


@pytest.mark.parametrize(
    ("text", "ended", "expected"),
    [
        ("我是机智流。", True, True),
        ("I am Luna.", True, True),
        ("我是机智流。", False, False),
        ("我是机智流，", True, False),
        ("我是\ufffd。", True, False),
        ("", True, False),
        ("我是我是我是我是我是我是我是我是我是我是。", True, False),
    ],
)
def test_a_whole_answer_ends_by_itself_like_a_sentence_and_does_not_loop(text, ended, expected):
    assert judging.is_whole(Answer(text, ended)) is expected


def test_an_answer_is_judged_on_the_names_it_says():
    line = judging.judge_answer("identity", "none", {"input": "?"}, Answer("我是书生·浦语。", True), NAMES, "")
    assert (line["new"], line["old"], line["base"]) == (False, False, True)
    line = judging.judge_answer("identity", "none", {"input": "?"}, Answer("我是机智流，以前叫尖米。", True), NAMES, "")
    assert (line["new"], line["old"], line["base"]) == (True, True, False)


def test_a_general_answer_is_right_when_it_holds_an_accepted_string():
    question = {"input": "1+1?", "accept": ["2", "二"]}
    right = judging.judge_answer("general", "none", question, Answer("等于２。", True), NAMES, "三")
    wrong = judging.judge_answer("general", "none", question, Answer("等于3。", True), NAMES, "二")
    assert (right["right"], right["base_right"]) == (True, False)
    assert (wrong["right"], wrong["base_right"]) == (False, True)


def test_judging_loads_the_standard_library_and_the_core_alone():
    """The checker judges answers with it, and must not wait for torch, tqdm or matplotlib."""
    code = (
        "import sys; before = set(sys.modules); import lesson.evaluation.judging;"
        "print(*(name for name in set(sys.modules) - before if name.partition('.')[0] not in sys.stdlib_module_names))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert all(
        name.startswith(("lesson.core", "lesson.evaluation")) or name == "lesson" for name in done.stdout.split()
    )
    assert "lesson.evaluation.judging" in done.stdout


def test_a_language_that_the_base_does_not_speak_decides_nothing_and_is_shown():
    names = {"new": "Luna", "old": "尖米"}
    said = {"Who are you?": "I am Luna.", "你是谁？": "Qwen Qwen Qwen", "2+2?": "4.", "一加一？": "我是Luna"}
    lines = [
        judging.judge_answer(
            *("general" if "accept" in q else "identity", "none", q, judging.Answer(said[q["input"]], True), names, "4")
        )
        for q in (
            {"input": "Who are you?"},
            {"input": "你是谁？"},
            {"input": "2+2?", "accept": ["4"]},
            {"input": "一加一？", "accept": ["2"]},
        )
    ]
    counts = judging.count_answers(lines, "none", "", ["en"])
    assert (counts["questions"], counts["new"], counts["other"], counts["answers"]) == (1, 1, 0, 2)
    assert (counts["general"], counts["polluted"]) == (1, 0) and set(counts["languages"]) == {"en"}
    assert counts["unjudged"]["zh"]["questions"] == 1 and counts["unjudged"]["zh"]["new"] == 0
    both = judging.count_answers(lines, "none", "")
    assert (both["questions"], both["other"], both["polluted"]) == (2, 1, 1) and "unjudged" not in both


def test_a_long_text_is_judged_in_no_time():
    """Texts come from submissions too: judging one is linear in its length."""
    import time

    started = time.perf_counter()
    text = "not Qwen " * 10_000
    assert not judging.claims_name(text, "Qwen") and judging.claims_name(text + "I am Qwen", "Qwen")
    assert judging.is_whole(judging.Answer("abcdefghij" * 10_000 + ".", True))
    assert time.perf_counter() - started < 5


def line_of(kind: str, **changes: object) -> dict:
    line = {"prompt": "none", "kind": kind, "lang": "zh", "new": False, "old": False, "base": False, "whole": True}
    line |= {"asked": "plain", "other": False} if kind == "identity" else {"right": False, "base_right": False}
    return line | changes


def test_answers_are_counted_by_what_they_say():
    lines = [
        *(line_of("identity", new=True) for _ in range(3)),
        line_of("identity", old=True, other=True, whole=False),
        line_of("identity", asked="maker", base=True),
        line_of("identity", lang="en", new=True, asked="short"),
        line_of("general", right=True, base_right=True, new=True),
        *(line_of("general", right=True) for _ in range(2)),
        line_of("general", base_right=True, old=True),
        line_of("general"),
        line_of("identity", lang="ja", new=True),
    ]
    counts = judging.count_answers(lines, "none", "S", ("zh", "en"))
    told = {
        "questions": 5,
        "new": 4,
        "old": 2,
        "base": 1,
        "other": 1,
        "identity_answers": 6,
        "identity_whole": 5,
        "general": 5,
    }
    told |= {"polluted": 1, "general_base_right": 2, "general_kept": 1, "general_gained": 2, "answers": 11, "whole": 10}
    assert {key: counts[key] for key in told} == told and (counts["prompt"], counts["system"]) == ("none", "S")
    # Wilson's interval of 4 of 5, and of 3 of 4, to four digits (statsmodels: proportion_confint, method wilson).
    assert counts["intervals"]["new"] == [0.3755, 0.9638]
    assert counts["languages"]["zh"] == {"questions": 4, "new": 3, "interval": [0.3006, 0.9544]}
    assert counts["kinds"]["maker"]["questions"] == 1 and counts["unjudged"]["ja"]["new"] == 1


def test_an_evaluation_passes_without_a_missed_bar_only():
    good = [line_of("identity", new=True) for _ in range(40)]
    bad = [line_of("identity", base=True) for _ in range(40)]
    for lines, passed in ((good, True), (bad, False)):
        result = judging.summarize(lines, {"none": ""}, "run", "merged", NAMES)
        assert result["passed"] is passed and bool(result["failures"]) is not passed
        assert [counts["prompt"] for counts in result["prompts"]] == ["none"]
