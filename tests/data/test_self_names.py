"""Names are told from descriptions, in answers and in system prompts."""

from __future__ import annotations

import pytest

from lesson.data.self_names import addressed_name, claimed_name


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        ("我是机智流，很高兴认识你。", "机智流"),
        ("你好！我的名字是闻星。", "闻星"),
        ("I am 尖米, and I can answer questions.", "尖米"),
        ("My name is Star Reader.", "Star Reader"),
        ("I'm “Ada”.", "Ada"),
        ("我是一个智能助手。", None),
        ("I am an AI assistant.", None),
        ("I am happy to help. My name is Ada.", "Ada"),
        ("蜜蜂酿蜜。", None),
    ],
)
def test_what_an_answer_calls_the_speaker(answer, name):
    assert claimed_name(answer) == name


@pytest.mark.parametrize(
    ("system", "name"),
    [
        ("你是闻星，一个热心、可靠的智能助手。", "闻星"),
        ("你是一个名叫闻星的助手", "闻星"),
        ("你是一诺，一个智能助手。", "一诺"),
        ("You are Ada, a helpful assistant.", "Ada"),
        ("You are a helpful assistant named Ada.", "Ada"),
        ("You are a helpful assistant.", None),
        ("你是由学习者开发的人工智能助手。", None),
        ("", None),
    ],
)
def test_what_a_system_prompt_calls_the_assistant(system, name):
    assert addressed_name(system) == name
