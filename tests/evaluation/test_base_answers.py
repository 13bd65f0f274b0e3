"""What the base answers is asked once, and asked anew when the base, the questions or the prompts are others."""

from __future__ import annotations

import io

import pytest

from lesson.core.layout import base_answers_file
from lesson.core.settings import Values
from lesson.evaluation import base_answers, held_out
from lesson.evaluation.base_answers import answer_key, get_base_answers, read_base_answers
from lesson.evaluation.judging import Answer

PROMPTS = {"persona": "你是机智流。", "none": ""}
limits: list[int] = []  # of the answers that were asked for


@pytest.fixture
def asked(monkeypatch):
    """What a base without a model behind it was asked: the chats, in order."""
    chats: list = []
    limits.clear()

    def answer(tokenizer, model, some, what, progress, sampling):
        chats.extend(some)
        limits.extend([sampling.max_tokens] * len(some))
        return [Answer(f"{len(chat)} {chat[-1]['content']}", True) for chat in some]

    monkeypatch.setattr(base_answers, "load_model", lambda values, use, run: (None, None))
    monkeypatch.setattr(base_answers, "answer_with_progress", answer)
    return chats


def test_it_is_asked_every_question_under_every_prompt_once(tmp_path, asked):
    values = Values({"BUILD": str(tmp_path)}, {})
    assert read_base_answers(values, PROMPTS, "hash") == {}
    found = get_base_answers(values, ["a", "b"], PROMPTS, "hash", io.StringIO())
    assert found == {
        answer_key("persona", "a"): "2 a",
        answer_key("persona", "b"): "2 b",
        answer_key("none", "a"): "1 a",
        answer_key("none", "b"): "1 b",
    }
    assert get_base_answers(values, ["a", "b"], PROMPTS, "hash", io.StringIO()) == found
    assert read_base_answers(values, PROMPTS, "hash") == found
    assert len(asked) == 4


def test_of_some_answers_the_beginning_is_enough(tmp_path, asked):
    values = Values({"BUILD": str(tmp_path)}, {})
    found = get_base_answers(values, ["a", "b"], PROMPTS, "hash", io.StringIO(), brief=["b"])
    assert len(found) == 4 and sorted(limits) == [48, 48, 128, 128]
    assert [chat[-1]["content"] for chat in asked] == ["b", "b", "a", "a"]


def test_another_base_other_prompts_or_other_questions_are_asked_anew(tmp_path, asked, monkeypatch):
    values = Values({"BUILD": str(tmp_path)}, {})
    get_base_answers(values, ["a"], PROMPTS, "hash", io.StringIO())
    assert read_base_answers(values, PROMPTS, "another") == {}
    assert read_base_answers(values, PROMPTS | {"persona": "x"}, "hash") == {}
    for kind in held_out.KINDS:
        (tmp_path / f"{kind}.json").write_text("{}", encoding="utf-8")
    monkeypatch.setattr(held_out, "FOLDER", tmp_path)
    assert read_base_answers(values, PROMPTS, "hash") == {}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"answers": {}}', "\0"])
def test_a_file_that_is_not_what_was_stored_counts_as_nothing_stored(tmp_path, text):
    base_answers_file(tmp_path).write_text(text, encoding="utf-8")
    assert read_base_answers(Values({"BUILD": str(tmp_path)}, {}), PROMPTS, "hash") == {}
