"""What every server refuses before it reads."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from lesson.serving.request_limits import LARGEST_REQUEST, make_middleware


def client(host: str) -> TestClient:
    """A client of a server that listens on `host` and answers how many bytes it was sent."""

    async def count(request):
        return PlainTextResponse(str(len(await request.body())))

    app = Starlette(routes=[Route("/", count, methods=["POST"])], middleware=make_middleware(host))
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
