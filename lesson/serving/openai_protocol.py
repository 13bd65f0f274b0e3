"""OpenAI's chat protocol: what a request may ask for, and errors and the list of models in its form."""

from __future__ import annotations

from fastapi import HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from litserve.specs.openai import ChatCompletionRequest
from starlette.exceptions import HTTPException as StarletteHTTPException

from lesson.core.text import is_unicode
from lesson.evaluation.asking import Chat, Sampling, build_chat

LONGEST_MESSAGES = 100_000  # characters of a whole conversation
MOST_MESSAGES = 1000
LONGEST_ANSWER = 1024  # tokens that a request may ask for
USUAL_ANSWER = 256
ROLES = ("system", "user", "assistant")


def read_request(request: ChatCompletionRequest) -> tuple[Chat, Sampling]:
    """The conversation and the sampling of a request. Raises HTTPException (400) with what is not taken.

    Greedy where no temperature is given, as everywhere in the recipe (OpenAI's default is 1).
    """
    chat = []
    for message in request.messages[: MOST_MESSAGES + 1]:
        content = message.content
        if isinstance(content, list):
            parts = [getattr(part, "text", None) for part in content]
            content = None if None in parts else "".join(parts)
        if message.role not in ROLES or not isinstance(content, str):
            raise HTTPException(400, "messages: only text of the roles system, user and assistant")
        if not is_unicode(content):
            raise HTTPException(400, "messages: half of a surrogate pair is no character")
        chat.append({"role": message.role, "content": content})
    if not is_unicode(request.model):  # the answer repeats it
        raise HTTPException(400, "model: half of a surrogate pair is no character")
    if not 1 <= len(chat) <= MOST_MESSAGES:
        raise HTTPException(400, f"messages: from 1 to {MOST_MESSAGES}")
    if sum(len(message["content"]) for message in chat) > LONGEST_MESSAGES:
        raise HTTPException(400, f"messages: at most {LONGEST_MESSAGES} characters in all")
    given = request.model_fields_set
    limits = [n for n in (request.max_completion_tokens, request.max_tokens) if n is not None]
    most = limits[0] if limits else USUAL_ANSWER
    temperature = (request.temperature if "temperature" in given else 0.0) or 0.0
    top_p = 1.0 if request.top_p is None else request.top_p
    for name, value, low, high in (
        ("max_tokens", most, 1, LONGEST_ANSWER),
        ("temperature", temperature, 0, 2),
        ("top_p", top_p, 0.01, 1),
        ("n", 1 if request.n is None else request.n, 1, 1),
    ):
        if not low <= value <= high:  # also false for NaN
            raise HTTPException(400, f"{name}: from {low} to {high}")
    for name in ("stop", "tools", "response_format"):
        if getattr(request, name):
            raise HTTPException(400, f"{name}: not supported")
    return chat, Sampling(temperature, top_p, most)


def add_system_prompt(chat: Chat, system: str) -> Chat:
    """The chat under `system`, unless it brings a system message of its own; an empty one asks for none at all."""
    return chat if chat[0]["role"] == "system" else build_chat(system) + chat


def choose_finish_reason(tokens: int, most: int) -> str:
    """Why an answer of `tokens` tokens, its end token not counted, ended when `most` were allowed with it."""
    return "length" if tokens >= most else "stop"


def make_error(status: int, message: str) -> JSONResponse:
    """An error as OpenAI's clients expect it."""
    kind = {429: "rate_limit_error"}.get(status, "invalid_request_error" if status < 500 else "server_error")
    return JSONResponse({"error": {"message": message, "type": kind, "param": None, "code": None}}, status)


def add_routes(app, name: str) -> None:
    """The list of models, and errors in OpenAI's form, on LitServe's FastAPI application."""

    @app.get("/v1/models")
    async def models() -> dict:
        return {"object": "list", "data": [{"id": name, "object": "model", "created": 0, "owned_by": "local"}]}

    @app.exception_handler(StarletteHTTPException)
    async def refused(_: Request, problem: StarletteHTTPException) -> JSONResponse:
        return make_error(problem.status_code, str(problem.detail))

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, problem: RequestValidationError) -> JSONResponse:
        first = problem.errors()[0]
        return make_error(400, f"{'.'.join(map(str, first['loc'][1:]))}: {first['msg']}")
