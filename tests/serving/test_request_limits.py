"""What every server refuses before it reads."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from lesson.core.settings import Values
from lesson.serving.request_limits import LARGEST_REQUEST, PAGE_PATHS, make_middleware


def client(host: str, *allowed: str, paths=None) -> TestClient:
    """A client of a server that listens on `host` and answers how many bytes it was sent, on any path."""

    async def count(request):
        return PlainTextResponse(str(len(await request.body())))

    app = Starlette(
        routes=[Route("/{path:path}", count, methods=["POST"])], middleware=make_middleware(host, allowed, paths)
    )
    return TestClient(app, base_url="http://127.0.0.1")


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_is_taken_up_to_the_limit_and_not_beyond(announced):
    for size, status in ((LARGEST_REQUEST, 200), (LARGEST_REQUEST + 1, 413)):
        body = b"a" * size
        assert client("127.0.0.1").post("/", content=body if announced else iter([body])).status_code == status


def test_a_server_for_this_machine_answers_to_its_names_alone():
    headers = {"Host": "evil.example"}
    assert client("127.0.0.1").post("/", headers=headers).status_code == 400
    assert client("0.0.0.0").post("/", headers=headers).status_code == 200
    assert client("127.0.0.1").post("/", headers={"Host": "localhost:1"}).status_code == 200


def test_a_foreign_host_is_told_what_to_set_and_what_was_set_is_taken():
    proxied = {"Host": "Hub.Example:443"}
    refused = client("127.0.0.1").post("/", headers=proxied)
    assert refused.status_code == 400 and "ALLOW_HOST=" in refused.text
    allowed = Values({"ALLOW_HOST": "hub.example, other.example"}).allow_host
    assert client("127.0.0.1", *allowed).post("/", headers=proxied).status_code == 200
    assert client("127.0.0.1", *allowed).post("/", headers={"Host": "evil.example"}).status_code == 400
    for name in ("[::1]:7860", "[::1]", "LOCALHOST"):
        assert client("::1").post("/", headers={"Host": name}).status_code == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 200),
        ("/gradio_api/queue/join", 200),
        ("/gradio_api/file=build/picture.png", 200),
        ("/gradio_api/file=http://evil.example/", 404),
        ("/gradio_api/file=https:/evil.example/", 404),
        ("/gradio_api/upload", 404),
        ("/gradio_api/upload_progress", 404),
        ("/gradio_api/proxy=http://evil.example/", 404),
        ("/gradio_api/openapi.json", 404),
        ("/openapi.json", 404),
        ("/monitoring", 404),
    ],
)
def test_of_a_page_only_what_it_needs_is_open(path, status):
    assert client("127.0.0.1", paths=PAGE_PATHS).post(path).status_code == status
