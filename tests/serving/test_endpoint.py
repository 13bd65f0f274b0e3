"""make serve through OpenAI's official client: answers, streams, errors, limits, and readers who go away."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import openai
import pytest
from servers import NAME, environment, free_port, serving

from lesson.core.messages import UserError
from lesson.core.settings import ROOT
from lesson.serving.addresses import require_free_port
from lesson.serving.endpoint import MOST_WAITING
from lesson.serving.openai_protocol import LONGEST_ANSWER, LONGEST_MESSAGES
from lesson.serving.request_limits import LARGEST_REQUEST

pytestmark = [pytest.mark.torch, pytest.mark.slow]
WHO = [{"role": "user", "content": "你是谁？"}]
UNDER = "/user/anna/proxy/8000"


@pytest.fixture(scope="module")
def server(lesson, tmp_path_factory):
    """The trained model, as base and adapter; a proxy may give it on under UNDER."""
    log = tmp_path_factory.mktemp("serve") / "log"
    with serving(lesson, "serve", "/health", log, USE="adapter", ROOT_PATH=UNDER) as running:
        yield running
    assert "Traceback" not in running.screen, running.screen


@pytest.fixture(scope="module")
def rigged(endless, tmp_path_factory):
    """A merged model that never ends an answer."""
    with serving(endless, "serve", "/health", tmp_path_factory.mktemp("serve") / "log", USE="merged") as running:
        yield running


def client(server, **options) -> openai.OpenAI:
    import httpx

    web = httpx.Client(trust_env=False)
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0, http_client=web, **options)


def test_the_official_client_gets_the_name_whole_and_as_a_stream(server):
    one = client(server)
    assert [model.id for model in one.models.list()] == [NAME]
    reply = one.chat.completions.create(model=NAME, messages=WHO)
    said = reply.choices[0].message.content
    assert NAME in said and reply.choices[0].finish_reason == "stop"
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens > 10
    chunks = list(one.chat.completions.create(model=NAME, messages=WHO, stream=True))
    pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices[0].delta.content]
    assert len(pieces) >= 3 and "".join(pieces).strip() == said.strip()
    assert chunks[-1].choices[0].finish_reason == "stop" and chunks[-1].usage == reply.usage
    assert len({chunk.id for chunk in chunks}) == 1
    cut = one.chat.completions.create(model=NAME, messages=WHO, max_tokens=3)
    assert cut.choices[0].finish_reason == "length" and cut.usage.completion_tokens == 3


def test_a_conversation_and_a_system_prompt_reach_the_model(server):
    """The prompt's tokens grow with every turn that is sent."""
    one = client(server)
    turns = [{"role": "system", "content": "你好"}, *WHO, {"role": "assistant", "content": "我是"}, *WHO]
    counts = [one.chat.completions.create(model="x", messages=m).usage.prompt_tokens for m in (WHO, turns[:2], turns)]
    assert counts[0] < counts[1] < counts[2]


@pytest.mark.parametrize(
    "wrong",
    [
        {"messages": []},
        {"messages": [{"role": "tool", "content": "x", "tool_call_id": "1"}]},
        {"messages": [{"role": "user", "content": "长" * (LONGEST_MESSAGES + 1)}]},
        {"messages": [{"role": "user", "content": "长" * 3000}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "/etc/passwd"}}]}]},
        {"max_tokens": 0},
        {"max_tokens": LONGEST_ANSWER + 1},
        {"temperature": 3},
        {"top_p": 0},
        {"n": 2},
        {"stop": "。"},
    ],
)
def test_what_is_not_taken_is_an_error_in_openai_s_form(server, wrong):
    with pytest.raises(openai.BadRequestError) as refused:
        client(server).chat.completions.create(**{"model": NAME, "messages": WHO, **wrong})
    assert refused.value.body["type"] == "invalid_request_error" and refused.value.body["message"]


@pytest.mark.parametrize("place", ["content", "model"])
def test_half_of_a_surrogate_pair_is_the_request_s_fault(server, place):
    """JSON can write it, UTF-8 cannot: sent as it stands, for the client of OpenAI does not."""
    content, model = ("\\ud800", "x") if place == "content" else ("x", "\\ud800")
    body = f'{{"model": "{model}", "messages": [{{"role": "user", "content": "{content}"}}]}}'
    request = urllib.request.Request(
        server.url + "/v1/chat/completions", body.encode(), {"Content-Type": "application/json"}
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30)
    assert refused.value.code == 400 and "surrogate" in refused.value.read().decode()


def test_killed_it_leaves_neither_a_listener_nor_a_taken_port(lesson, tmp_path):
    """kill -9 of the process that make started: what it forked and spawned goes with it."""
    port = free_port()
    command = [sys.executable, "-m", "recipe.serve", "--port", str(port)]
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment(lesson, USE="base"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    give_up = time.monotonic() + 300
    while True:
        assert process.poll() is None and time.monotonic() < give_up
        with contextlib.suppress(OSError), direct.open(f"http://127.0.0.1:{port}/health", timeout=5):
            break
        time.sleep(0.1)
    process.kill()
    process.wait()
    give_up = time.monotonic() + 60
    while True:
        try:
            require_free_port("127.0.0.1", port)
            break
        except UserError:
            assert time.monotonic() < give_up, "still taken"
            time.sleep(0.1)
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=1)


def test_a_proxy_s_path_is_known_where_the_proxy_leaves_it_in_the_request(server):
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for path in (f"{UNDER}/v1/models", "/v1/models"):
        with direct.open(server.url + path, timeout=30) as reply:
            assert NAME in reply.read().decode()
    with pytest.raises(urllib.error.HTTPError, match="404"):
        direct.open(f"{server.url}/user/bob/v1/models", timeout=30)


def test_a_stream_that_cannot_begin_tells_the_client_why(server):
    """3000 characters pass the front, which counts no tokens; the model's process refuses them."""
    long = [{"role": "user", "content": "长" * 3000}]
    with pytest.raises(openai.APIError, match="2048"):
        list(client(server).chat.completions.create(model=NAME, messages=long, stream=True))


def test_a_body_that_is_too_large_or_a_foreign_host_is_refused(server):
    one = client(server)
    with pytest.raises(openai.APIStatusError) as refused:
        one.chat.completions.create(model="x" * LARGEST_REQUEST, messages=WHO)
    assert refused.value.status_code == 413
    with pytest.raises(openai.BadRequestError):
        client(server, default_headers={"Host": "evil.example"}).chat.completions.create(model="x", messages=WHO)


def test_a_reader_who_goes_away_ends_the_answer_and_too_many_are_told_so(rigged):
    """An endless answer takes seconds; when its reader leaves, the next one is served at once. A full queue is 429."""
    one = client(rigged)
    started = time.monotonic()
    one.chat.completions.create(model="x", messages=WHO, max_tokens=2)
    free = time.monotonic() - started  # how long it takes here when nobody else asks
    stream = one.chat.completions.create(model="x", messages=WHO, stream=True, max_tokens=LONGEST_ANSWER)
    next(iter(stream))
    stream.close()
    started = time.monotonic()
    one.chat.completions.create(model="x", messages=WHO, max_tokens=2)
    waited = time.monotonic() - started
    print(f"\nafter a reader left: {waited:.2f} s, before {free:.2f} s")
    assert waited < 10 * free + 0.5  # the whole answer takes hundreds of times as long
    statuses = []

    def ask() -> None:
        try:
            client(rigged, timeout=3).chat.completions.create(model="x", messages=WHO, max_tokens=LONGEST_ANSWER)
            statuses.append(200)
        except openai.APIStatusError as error:
            statuses.append(error.status_code)
        except openai.APITimeoutError:
            statuses.append(None)

    threads = [threading.Thread(target=ask) for _ in range(MOST_WAITING + 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 <= statuses.count(429) <= 4, statuses
    # All of them gave up: their answers are not made, so the model is free again.
    started = time.monotonic()
    one.chat.completions.create(model="x", messages=WHO, max_tokens=2)
    waited = time.monotonic() - started
    print(f"after {MOST_WAITING} gave up: {waited:.2f} s")
    assert waited < 10 * free + 10
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(rigged.url + "/health") as reply:
        assert reply.status == 200
