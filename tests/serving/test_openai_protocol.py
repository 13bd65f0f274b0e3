"""What the endpoint takes from a request, and the form of what it answers. No server is started."""

from __future__ import annotations

import json

import pytest
from fastapi import HTTPException
from litserve.specs.openai import ChatCompletionRequest

from lesson.evaluation.asking import Sampling
from lesson.serving.openai_protocol import (
    LONGEST_ANSWER,
    MOST_MESSAGES,
    USUAL_ANSWER,
    add_system_prompt,
    choose_finish_reason,
    make_error,
    read_request,
)

WHO = [{"role": "user", "content": "你是谁？"}]


def read(**request) -> tuple[list, Sampling]:
    return read_request(ChatCompletionRequest(**{"messages": WHO, **request}))


def test_no_temperature_means_greedy():
    assert read() == (WHO, Sampling(0, 1, USUAL_ANSWER))
    assert read(temperature=0.7, top_p=0.5)[1] == Sampling(0.7, 0.5, USUAL_ANSWER)


def test_the_newer_name_of_the_limit_goes_before_the_older():
    assert read(max_tokens=3)[1].max_tokens == 3
    assert read(max_tokens=3, max_completion_tokens=4)[1].max_tokens == 4


def test_text_in_parts_is_one_text():
    parts = [{"type": "text", "text": "你是"}, {"type": "text", "text": "谁？"}]
    assert read(messages=[{"role": "user", "content": parts}])[0] == WHO


@pytest.mark.parametrize(
    "wrong",
    [
        {"messages": WHO * (MOST_MESSAGES + 1)},
        {"messages": [{"role": "tool", "content": "x", "tool_call_id": "1"}]},
        {"max_tokens": LONGEST_ANSWER + 1},
        {"temperature": float("nan")},
        {"n": 2},
        {"stop": "。"},
    ],
)
def test_what_is_not_taken_is_named(wrong):
    with pytest.raises(HTTPException) as refused:
        read(**wrong)
    assert refused.value.status_code == 400 and next(iter(wrong)) in refused.value.detail


def test_an_answer_that_reached_its_limit_was_cut():
    assert [choose_finish_reason(tokens, 3) for tokens in (2, 3)] == ["stop", "length"]


@pytest.mark.parametrize(
    ("status", "kind"), [(400, "invalid_request_error"), (429, "rate_limit_error"), (500, "server_error")]
)
def test_an_error_has_openai_s_form(status, kind):
    error = json.loads(make_error(status, "why").body)["error"]
    assert error == {"message": "why", "type": kind, "param": None, "code": None}


def test_a_request_without_a_system_message_gets_the_endpoint_s_and_an_empty_one_none():
    user = [{"role": "user", "content": "Hi"}]
    assert add_system_prompt(user, "You are Qwen.") == [{"role": "system", "content": "You are Qwen."}, *user]
    assert add_system_prompt(user, "") == user
    for own in ("", "Be brief."):
        chat = [{"role": "system", "content": own}, *user]
        assert add_system_prompt(chat, "You are Qwen.") == chat
