"""What a base calls itself, from the table or from its own answers."""

from __future__ import annotations

from lesson.evaluation.judging import BASE_NAMES
from lesson.evaluation.own_name import find_own_names, names_in_answers


def test_a_known_base_is_not_asked():
    assert find_own_names(None, []) == (BASE_NAMES, False)
    names, asked = find_own_names({"name": "Qwen/Qwen2.5-0.5B-Instruct", "model_type": "qwen2"}, [])
    assert "Qwen" in names and not asked


def test_an_unknown_base_says_its_own_name():
    answers = ["我是小明，一个人工智能助手。", "My name is Bob, an AI.", "I am an AI assistant.", "我是一个助手。"] * 3
    assert set(names_in_answers(answers)) == {"小明", "Bob"}
    assert find_own_names({"name": "x/y", "model_type": "llama"}, answers)[1]
    assert names_in_answers(["我是人工智能助手。"] * 9) == ()
