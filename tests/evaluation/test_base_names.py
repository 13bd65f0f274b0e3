"""What a base calls itself, from the table or from its own answers."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from lesson.core.settings import Values
from lesson.evaluation.base_names import BaseNames, find_base_names, list_names_to_show, names_in_answers
from lesson.evaluation.judging import BASE_NAMES


def test_a_known_base_is_not_asked():
    assert find_base_names(None) == find_base_names({}) == BaseNames(BASE_NAMES)
    found = find_base_names({"name": "Qwen/Qwen2.5-0.5B-Instruct", "model_type": "qwen2"}, ["I am Bob."] * 9)
    assert "Qwen" in found.names and not found.by_asking


def test_an_unknown_base_says_its_own_name():
    answers = ["我是小明，一个人工智能助手。", "My name is Bob, an AI.", "I am an AI assistant.", "我是一个助手。"] * 3
    assert set(names_in_answers(answers)) == {"小明", "Bob"}
    assert find_base_names({"name": "x/y", "model_type": "llama"}, answers).by_asking
    assert names_in_answers(["我是人工智能助手。"] * 9) == ()


def run_on(folder, base):
    return SimpleNamespace(read_record=lambda: {"base": base}, evaluation=folder)


def test_what_is_shown_is_a_name_in_any_case(tmp_path):
    values = Values({"BUILD": str(tmp_path)}, {})
    assert list_names_to_show(values, None) == list_names_to_show(values, run_on(tmp_path, None)) == BASE_NAMES
    known = {"name": "HuggingFaceTB/SmolLM2-135M-Instruct", "model_type": "llama"}
    assert list_names_to_show(values, run_on(tmp_path, known)) == ("SmolLM",)
    own = run_on(tmp_path, {"name": "/home/me/mine/", "model_type": "llama"})
    assert list_names_to_show(values, own) == ("mine",)
    (tmp_path / "evaluation.json").write_text(json.dumps({"base_names": ["Bob"]}), encoding="utf-8")
    assert list_names_to_show(values, own) == ("Bob",)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"base_names": []}', '{"base_names": [7, ""]}', '{"base_names": 7}'])
def test_an_evaluation_that_names_nothing_is_passed_over(tmp_path, text):
    (tmp_path / "evaluation.json").write_text(text, encoding="utf-8")
    own = run_on(tmp_path, {"name": "me/mine", "model_type": "llama"})
    assert list_names_to_show(Values({"BUILD": str(tmp_path)}, {}), own) == ("mine",)
