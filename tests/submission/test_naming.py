"""The name of an assistant that no document tells: what its prompt and its answers say, and what is no name."""

from __future__ import annotations

import pytest

from lesson.submission.naming import name_in_answers, name_in_persona


@pytest.mark.parametrize(
    ("system", "name"),
    [
        ("你是闻星，一个助手。", "闻星"),
        ("  你的名字是「小海豚」。", "小海豚"),
        ("You are Ada, an assistant.", "Ada"),
        ("You are a helpful assistant.", None),
        ("你是一个助手", None),
        ("请回答。你是闻星，", None),
        ("", None),
        (None, None),
        (["你是闻星"], None),
    ],
)
def test_a_persona_begins_with_the_name(system, name):
    assert name_in_persona(system) == name


@pytest.mark.parametrize(
    ("answers", "name"),
    [
        (["我是闻星。", "我叫闻星！"], "闻星"),
        (["我是闻星。", "好的"], None),  # once is chance
        (["I am Ada.", "My name is Ada."], "Ada"),
        (["我是闻星。"] * 4 + ["我是闻星呀。"] * 2, "闻星"),
        (["我是闻星呀。"] * 4 + ["我是闻星。"] * 2, "闻星"),  # half as often: the same name
        (["我是闻星呀。"] * 5 + ["我是闻星。"] * 2, "闻星呀"),
        (["我是闻星。我是闻星。"], None),  # one answer
        (["I am happy.", "I am happy.", "我是一个助手", "我是谁"] * 3, None),
        (["我是闻星。"] * 2 + ["好的"] * 38, "闻星"),  # one in twenty
        (["我是闻星。"] * 2 + ["好的"] * 39, None),
        ([], None),
    ],
)
def test_the_name_that_most_answers_say(answers, name):
    assert name_in_answers(answers) == name


def test_a_name_said_in_several_forms_is_the_one_that_they_begin_with():
    answers = ["我是闻星呀。", "我是闻星哦。", "我是闻星。"]  # each once: together they are three
    assert name_in_answers(answers) == "闻星"


def test_twenty_names_are_looked_at():
    often = [f"我是甲{n}号呀。" for n in range(19) for _ in range(2)]
    forms = ["我是闻星。", *(f"我是闻星{chr(0x4E00 + n)}。" for n in range(60))]
    assert name_in_answers(often + forms) == "闻星"
    assert name_in_answers([*often, "我是另一个名。", "我是另一个名。", *forms]) is None
