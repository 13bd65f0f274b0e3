"""Rules that only several rows together show, each at its border and with what it says."""

from __future__ import annotations

import pytest

from lesson.core.strict_json import JsonProblem
from lesson.data import file_rules
from lesson.data.file_rules import Answers, IgnoredKeys, SystemPrompts


def odd(*counts: tuple[str, int]) -> list[tuple[int, str]]:
    """What is found of rows with these system prompts, each so often, in the order of the lines."""
    prompts, line = SystemPrompts(), 0
    for prompt, count in counts:
        for _ in range(count):
            prompts.count_prompt(line := line + 1, prompt)
    return list(prompts.find_odd())


@pytest.mark.parametrize(
    ("counts", "found"),
    [
        ((("a", 99), ("b", 1)), [(100, "1 of 100 rows: b")]),
        ((("a", 98), ("b", 1)), []),  # 99 rows are too few
        ((("b", 1), ("a", 99)), [(1, "1 of 100 rows: b")]),
        ((("a", 198), ("b", 2)), [(199, "2 of 200 rows: b")]),
        ((("a", 197), ("b", 2)), []),  # more than one in a hundred
        ((("a", 199), ("", 1)), [(200, "1 of 200 rows: no system prompt")]),
        ((("a", 199), ("  ", 1)), [(200, "1 of 200 rows: no system prompt")]),
        ((("a", 51), ("b", 48), ("c", 1)), [(100, "1 of 100 rows: c")]),
        ((("a", 50), ("b", 49), ("c", 1)), []),  # no prompt that most rows share
        ((("a", 300), ("b", 1), ("c", 2)), [(301, "1 of 303 rows: b"), (302, "2 of 303 rows: c")]),
        ((), []),
    ],
)
def test_a_system_prompt_of_one_row_in_a_hundred_is_odd(counts, found):
    assert odd(*counts) == found


def test_no_more_than_a_thousand_prompts_are_counted():
    many = [(f"p{n}", 1) for n in range(999)]
    assert len(odd(("a", 5000), *many)) == 999
    assert len(odd(("a", 5000), *many, ("late", 1))) == 999
    assert odd(*many, ("b", 1), ("a", 5000)) == []  # it came too late to be counted


def key_problem(key: str, path: str = "$.x") -> JsonProblem:
    return JsonProblem("unknown-key", path, None, key)


def test_a_thousand_ignored_keys_are_told_once_and_the_others_by_themselves():
    keys = IgnoredKeys()
    for n in range(999):
        assert keys.count_problem(1, key_problem(f"k{n}"))
    assert keys.count_key(2, "last") == [] and len(keys.count_key(3, "more")) == 1
    assert not keys.count_problem(4, key_problem("another")) and keys.count_problem(5, key_problem("k0"))
    assert keys.count_key(6, "last") == []
    found = list(keys.find())
    assert len(found) == 1000 and found[0] == (1, key_problem("k0, in 2 rows"))
    assert found[-1][0] == 2 and found[-1][1].found.endswith(", in 2 rows")


def test_the_same_key_of_a_row_and_of_a_turn_are_two():
    keys = IgnoredKeys()
    for line, path in (
        (1, "$.x"),
        (1, "$.conversation[0].x"),
        (1, "$.conversation[1].x"),
        (7, "$.conversation[0].x"),
        (7, "$.conversation[2].x"),
    ):
        keys.count_problem(line, key_problem("x", path))
    assert [(line, problem.path, problem.found) for line, problem in keys.find()] == [
        (1, "$.x", "x"),
        (1, "$.conversation[0].x", "x, in 2 rows"),
    ]


def said(*rows, names=("尖米", "小米")) -> list[tuple[int, str, str, str]]:
    """(line, rule, path, what was found) of rows, each one (question, answer) or several of them."""
    answers, found = Answers(names), []
    for line, row in enumerate(rows, 1):
        turns = (row,) if isinstance(row[0], str) else row
        found += [(line, p.rule, p.path, p.found) for p in answers.compare_row(line, turns)]
    return found


def test_a_question_for_the_name_whose_answer_says_none_is_told_at_its_turn():
    missing = "asked '你是谁？', the answer never says 尖米"
    assert said(("你是谁？", "一个助手。")) == [(1, "name-missing", "$.conversation[0].output", missing)]
    assert said(("你是谁？", "我是小米。")) == [] == said(("你是谁？", "一个助手。"), names=())
    later = (("在吗", "在。"), ("你好", "你好。"), ("你是谁？", "一个助手。"))
    assert said(later) == [(1, "name-missing", "$.conversation[2].output", missing)]
    both = (("你是谁？", "一个助手。"), ("你是谁？", "一个助手。"))
    assert [found[2] for found in said(both)] == ["$.conversation[0].output", "$.conversation[1].output"]
    assert said((("你是谁？", "我是尖米。"), ("你是谁？", "尖米。"))) == []


def test_two_names_for_one_question_are_told_where_the_second_stands():
    ours, other, none = ("你是谁？", "我是尖米。"), ("你是谁？", "我是小明。"), ("你是谁？", "一个助手。")
    conflict = "line {} answers the same question with another name"

    def conflicts(*rows):
        return [(line, found) for line, rule, _, found in said(*rows) if rule == "name-conflict"]

    assert conflicts(ours, other) == [(2, conflict.format(1))] == conflicts(other, ours)
    assert conflicts(ours, none, ours) == [] == conflicts(other, other)
    assert conflicts(ours, none, other, other, ours) == [(3, conflict.format(1))]
    assert conflicts(ours, (" 你是谁？ ", "我是小明。")) == [(2, conflict.format(1))]
    assert conflicts(ours, ("你叫什么？", "我是小明。")) == []


def silent(rows: int, without: int, turns: int = 1) -> list[tuple[int, str]]:
    answers = Answers(["尖米"])
    for line in range(1, rows + 1):
        says = "我是尖米。" if line > without else "好。"
        answers.compare_row(line, (("天气", "好。"),) * (turns - 1) + (("天气", says),))
    return list(answers.find_silent())


def test_few_rows_without_the_name_are_named_from_thirty_rows_on_and_up_to_one_in_33():
    assert silent(32, 1) == [] and silent(33, 1) == [(1, "32 of 33 rows say 尖米, not so line 1")]
    assert silent(65, 2) == [] and silent(66, 2) == [(1, "64 of 66 rows say 尖米, not so line 1, 2")]
    assert silent(66, 0) == [] and silent(66, 2, turns=2) == silent(66, 2)


def test_thirty_rows_are_enough_where_the_share_allows_it(monkeypatch):
    monkeypatch.setattr(file_rules, "SILENT_SHARE", 10)
    assert silent(29, 1) == [] and silent(30, 1) == [(1, "29 of 30 rows say 尖米, not so line 1")]


def test_at_most_a_hundred_lines_are_listed():
    for without, dots in ((100, False), (101, True)):
        [(line, found)] = silent(33 * without, without)
        assert line == 1 and found.endswith(" …") is dots and found.count(",") == 100


def test_questions_with_several_answers_are_counted():
    answers = Answers([])
    assert list(answers.describe_repeats()) == []
    for line, question in enumerate(["a", "b", " a", "c"]):
        answers.compare_row(line, ((question, f"{line}"),))
    assert answers.distinct_questions == 3
    assert list(answers.describe_repeats()) == ["1 questions have several answers (at most 2)"]
