"""The endpoint of make serve: OpenAI's chat protocol in front of the tuned model.

Which engine, and why (tried in November 2026, with requirements.lock as constraint):
- transformers serve came with 4.5x; InternLM2.5's own code breaks on 4.49 and later, the lock has 4.48.0.
- vLLM 0.6 and later, LMDeploy 0.5 and later, SGLang and Aphrodite pin other versions of torch, torchvision or triton.
- MS-Swift and OpenLLM pin peft or openai elsewhere. LLaMA-Factory resolves to 0.8.2, which does not import with
  transformers 4.48 (LlamaFlashAttention2 is gone) and opens local files that a request names.
- FastChat knows InternLM 1's template only; Xinference 1.5 resolves, with 29 more packages and a cluster of actors.
- LitServe fits: seven small packages. It has the protocol, its schema, the queue and the worker process; the answers
  are lesson.evaluation.asking's. What it lacks is added here: errors in OpenAI's form, limits, the list of models, the
  true finish_reason, and an answer that ends when its reader goes away.

One model, loaded once, one answer at a time; MOST_WAITING requests may wait, the next one gets status 429.
"""

from __future__ import annotations

import asyncio
import collections
import json
import logging
import multiprocessing
import os
import signal
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import litserve
from fastapi import HTTPException, Request
from fastapi.responses import StreamingResponse
from litserve.specs.openai import ChatCompletionRequest, OpenAISpec
from litserve.utils import ResponseBufferItem

from lesson.core.messages import UserError, tr
from lesson.core.processes import die_with_parent
from lesson.core.settings import Values
from lesson.evaluation.base_names import list_names_to_show
from lesson.evaluation.held_out import read_system_prompts
from lesson.evaluation.loading import find_weights, use_environment
from lesson.runs.chosen import find_chosen_run
from lesson.serving.addresses import format_address, is_loopback, keep_proxy_off_loopback, require_free_port
from lesson.serving.models import Models
from lesson.serving.openai_protocol import add_routes, add_system_prompt, choose_finish_reason, read_request
from lesson.serving.request_limits import make_middleware

PORT = 8000
MOST_WAITING = 64  # requests, the one that is answered included
PATIENCE = 600  # seconds that a request may wait for its turn


class Assistant(litserve.LitAPI):
    """LitServe's worker: loads the model in a process of its own and turns requests into pieces of an answer."""

    def __init__(self, flags: dict[str, str], use: str, stopped) -> None:
        """`flags` are the settings, PROMPT among them: the system prompt of a request that brings none. `stopped` is an
        array shared with the server: 1 at the slot of a request that nobody waits for any more."""
        super().__init__(spec=Spec(stopped))
        self.flags, self.use, self.stopped = flags, use, stopped

    def setup(self, device: str) -> None:
        """Called in the worker's process: load the model."""
        die_with_parent()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process
        values = Values(self.flags, {})
        use_environment(values)
        run = None if self.use == "base" else find_chosen_run(values)
        self.models = Models(values, self.use, run)
        persona = run.read_record()["persona"] if run else ""
        self.system = read_system_prompts(persona, self.models.default_prompt).get(values.prompt, "")
        self.models.warm()

    def decode_request(self, request: ChatCompletionRequest):
        """(slot, chat, sampling) of a request. An empty system message asks for none; without any it is PROMPT's."""
        chat, sampling = read_request(request)
        return int(request.metadata["slot"]), add_system_prompt(chat, self.system), sampling

    def predict(self, inputs) -> Iterator[dict]:
        """Pieces of the answer; the last one is empty and holds the usage, which LitServe adds up."""
        slot, chat, sampling = inputs
        try:
            with self.models.ask(chat, sampling) as reply:
                for piece in reply:
                    if self.stopped[slot]:
                        break
                    yield {"role": "assistant", "content": piece}
                yield {
                    "role": "assistant",
                    "content": "",
                    "prompt_tokens": reply.prompt_tokens,
                    "completion_tokens": reply.tokens,
                    "total_tokens": reply.prompt_tokens + reply.tokens,
                }
        except UserError as error:
            raise HTTPException(400, f"{error.where}: {error.what}") from None


class Spec(OpenAISpec):
    """LitServe's protocol with limits, a true finish_reason, and answers that end with their reader."""

    def __init__(self, stopped) -> None:
        super().__init__()
        self.stopped = stopped
        self.free_slots = list(range(len(stopped)))
        self.tasks: set = set()

    async def chat_completion(self, request: ChatCompletionRequest, http: Request):
        """The answer to a request, or the stream of its pieces. Raises HTTPException (400 not taken, 429 too many)."""
        _, sampling = read_request(request)
        if not self.free_slots:
            raise HTTPException(429, "too many requests are waiting; try again later")
        slot, uid, event = self.free_slots.pop(), uuid.uuid4(), asyncio.Event()
        self.stopped[slot] = 0
        request.metadata, request.n = {"slot": str(slot)}, 1
        pieces: collections.deque = collections.deque()
        self.response_buffer[uid] = ResponseBufferItem(response_queue=pieces, event=event)
        self.request_queue.put((self.response_queue_id, uid, time.monotonic(), request))
        out: asyncio.Queue = asyncio.Queue()

        async def pump() -> None:
            # Reads to the worker's last word, whoever listens: only then is the slot free for another request.
            try:
                async for piece in self.data_streamer(pieces, event, send_status=True):
                    out.put_nowait(piece)
            finally:
                out.put_nowait(None)
                del self.response_buffer[uid]
                self.free_slots.append(slot)

        async def answer() -> AsyncIterator[tuple]:
            while (piece := await out.get()) is not None:
                yield piece

        task = asyncio.create_task(pump())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        if request.stream:
            return StreamingResponse(
                self.stream_events(request, answer(), slot, task, sampling.max_tokens), media_type="text/event-stream"
            )
        whole = asyncio.create_task(self.non_streaming_completion(request, [answer()]))
        while not whole.done():
            await asyncio.wait({whole}, timeout=0.2)
            if not whole.done() and await http.is_disconnected():
                self.stopped[slot] = 1
        result = whole.result()
        result.choices[0].finish_reason = choose_finish_reason(result.usage.completion_tokens, sampling.max_tokens)
        return result

    async def stream_events(self, request, pieces, slot: int, task: asyncio.Task, most: int) -> AsyncIterator[str]:
        """LitServe's stream of events, each ended by a blank line, under one id, with the true finish_reason."""
        name = f"chatcmpl-{uuid.uuid4().hex}"
        try:
            async for text in self.streaming_completion(request, [pieces]):
                data = text.removeprefix("data: ").strip()
                if data != "[DONE]":
                    chunk = json.loads(data)
                    if "error" not in chunk:
                        chunk["id"] = name
                        if chunk["choices"][0]["finish_reason"]:
                            chunk["choices"][0]["finish_reason"] = choose_finish_reason(
                                chunk["usage"]["completion_tokens"], most
                            )
                    data = json.dumps(chunk, ensure_ascii=False)
                yield f"data: {data}\n\n"
        finally:
            if not task.done():
                self.stopped[slot] = 1


@dataclass(frozen=True)
class Endpoint:
    """A server that is ready to run: the name of its model, where it will listen, and LitServe's part."""

    model: str
    host: str
    port: int
    server: litserve.LitServer


def build_endpoint(values: Values) -> Endpoint:
    """The endpoint of the last run's model, or of the base. Raises UserError when a part of the model is missing, or the
    port is taken."""
    use_environment(values)
    keep_proxy_off_loopback()
    run = None if values.use == "base" else find_chosen_run(values)
    # What is missing is said here in one line; the worker's would be a traceback.
    find_weights(values, values.use, run)
    model = run.read_record()["names"]["new"] if run else list_names_to_show(values, None)[0]
    prompt = values.prompt if values.given("PROMPT") else "default"
    flags = {"PROFILE": values.profile, "BUILD": str(values.build), "PROMPT": prompt, "RUN": values.text("RUN")}
    stopped = multiprocessing.get_context("spawn").Array("b", MOST_WAITING)
    host, port = values.host, values.port or PORT
    require_free_port(host, port)
    server = litserve.LitServer(
        Assistant(flags, values.use, stopped),
        accelerator="cpu" if values.profile == "tiny" else "auto",
        devices=1,
        timeout=PATIENCE,
        middlewares=[(part.cls, part.kwargs) for part in make_middleware(host, values.allow_host)],
        disable_openapi_url=True,
    )
    add_routes(server.app, model)
    # Some proxies take their own path away from a request, some leave it: with it the application knows either.
    server.app.root_path = urlsplit(values.root_path).path
    # What it would print, with a traceback, is what it sends to the client: a request that was refused.
    logging.getLogger("litserve.specs.openai").setLevel(logging.CRITICAL)
    return Endpoint(model, host, port, server)


def make_lines(endpoint: Endpoint) -> list[str]:
    """Where the endpoint is, and who can use it."""
    lines = []
    if not is_loopback(endpoint.host):
        lines.append(tr("anybody who reaches this machine can use the model", "能访问本机的任何人都可以使用此模型"))
    address = f"{format_address(endpoint.host, endpoint.port)}/v1"
    return [*lines, tr(f"model {endpoint.model} at {address}", f"模型 {endpoint.model}：{address}")]


def run_endpoint(endpoint: Endpoint) -> None:
    """Load the model and answer until Ctrl-C or SIGTERM, both of which raise KeyboardInterrupt."""
    main = os.getpid()

    def end(*_: object) -> None:
        # LitServe puts its processes away after Ctrl-C; a plain kill would leave them, and the port taken. In the
        # forked process that listens, which inherits this, there is nothing to put away and nothing to say.
        if os.getpid() == main:
            raise KeyboardInterrupt
        os._exit(0)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    # The process that listens is forked: killed with -9, this one would leave it behind, with the port taken. SIGTERM would
    # make it wait for answers that nobody gives any more.
    os.register_at_fork(after_in_child=lambda: die_with_parent(signal.SIGKILL))
    endpoint.server.run(
        host=endpoint.host,
        port=endpoint.port,
        num_api_servers=1,
        api_server_worker_type="process",
        generate_client_file=False,
        log_level="warning",
        access_log=False,
    )
