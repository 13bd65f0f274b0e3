"""What a click on the page does, with models that answer by rote."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from lesson.core.files import write_json
from lesson.core.records import record_path
from lesson.core.settings import Values
from lesson.evaluation.asking import Sampling
from lesson.serving.page_actions import OWN, PageActions

RECORD = {"id": "0" * 12, "persona": "你是闻星。", "names": {"new": "闻星", "old": "尖米"}}


class Models:
    """Answers with the base's name or the new one, and remembers what it was asked."""

    use, default_prompt = "adapter", ""

    def __init__(self) -> None:
        self.asked: list = []

    def ask(self, chat, sampling, base=False):
        self.asked.append((chat, sampling, base))
        return contextlib.nullcontext([" 我是", "书生·浦语" if base else "闻星", "。"])


@pytest.fixture
def actions():
    return PageActions(Models(), Values({}, {}), SimpleNamespace(read_record=lambda: RECORD))


def test_an_answer_grows_and_the_model_is_asked_with_the_whole_conversation(actions):
    history = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    texts = list(actions.answer_message("c", history, OWN, " 你好 ", 0.5, 0.9, 7.0))
    assert texts == ["我是", "我是闻星", "我是闻星。"]
    (chat, sampling, base) = actions.models.asked[0]
    assert [message["content"] for message in chat] == ["你好", "a", "b", "c"]
    assert sampling == Sampling(0.5, 0.9, 7) and not base


def test_side_by_side_the_base_answers_first_and_names_are_marked(actions):
    *_, (before, after) = actions.answer_side_by_side("你是谁？", "persona", "")
    assert ("书生·浦语", "base's name") in before and ("闻星", "new name") in after
    assert [base for _, _, base in actions.models.asked] == [True, False]
    assert actions.models.asked[0][0][0] == {"role": "system", "content": "你是闻星。"}


@pytest.mark.slow  # imports gradio
def test_a_question_that_is_too_long_is_a_message_box_and_reaches_no_model(actions):
    import gradio as gr

    with pytest.raises(gr.Error, match="at most 4000 characters"):
        next(actions.answer_message("x" * 4001, [], "none", "", 0, 1, 7))
    assert actions.models.asked == []


def test_a_conversation_is_written_to_a_file_of_its_own(actions, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    paths = [actions.export_conversation("json", [], "persona", "", 0, 1, 7) for _ in range(2)]
    assert paths[0] != paths[1]
    document = json.loads(Path(paths[0]).read_text(encoding="utf-8"))
    assert document["name"] == "闻星" and document["run"] == "0" * 12 and document["max_tokens"] == 7
    assert document["messages"] == [{"role": "system", "content": "你是闻星。"}]


def test_without_a_run_the_page_is_the_base_s(tmp_path):
    values = Values({"BUILD": str(tmp_path)}, {})
    actions = PageActions(SimpleNamespace(use="base", default_prompt=""), values, None)
    assert actions.title == "书生·浦语" and actions.prompts["persona"] == ""
    record = record_path(tmp_path / "model")
    write_json(record, {"base": {"name": "Qwen/Qwen2.5-0.5B-Instruct", "model_type": "qwen2"}})
    assert PageActions(SimpleNamespace(use="base", default_prompt=""), values, None).title == "通义千问"
    write_json(record, {"base": {"name": "/models/Mine-1B", "model_type": "llama"}})
    assert PageActions(SimpleNamespace(use="base", default_prompt=""), values, None).title == "Mine-1B"


def test_the_page_offers_none_as_no_system_prompt_and_the_base_s_own_as_another(actions):
    assert "default" not in actions.prompts, "a base without one"
    list(actions.answer_message("c", [], "none", "", 0, 1, 7))
    assert [message["role"] for message in actions.models.asked[-1][0]] == ["user"]
    actions.models.default_prompt = "You are Qwen."
    again = PageActions(actions.models, Values({}, {}), actions.run)
    list(again.answer_message("c", [], "default", "", 0, 1, 7))
    assert actions.models.asked[-1][0][0] == {"role": "system", "content": "You are Qwen."}
