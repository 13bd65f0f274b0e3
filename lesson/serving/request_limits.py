"""What every server of the recipe refuses before it reads: requests that are too large, or that another site sent.

ASGI middleware, shared by the page and the endpoint. Standard ones where starlette has them.
"""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware

from lesson.serving.addresses import is_loopback

LARGEST_REQUEST = 2**20  # bytes; a conversation that fills the context of a 7B model is a tenth of it


class LimitBody:
    """Refuses a request body of more than LARGEST_REQUEST bytes with status 413, announced or not."""

    def __init__(self, app) -> None:
        self.app = app

    async def __call__(self, scope, receive, send) -> None:
        seen = 0

        async def counted():
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > LARGEST_REQUEST:
                raise HTTPException(413, f"at most {LARGEST_REQUEST} bytes")
            return message

        await self.app(scope, counted if scope["type"] == "http" else receive, send)


def make_middleware(host: str) -> list[Middleware]:
    """The middleware of a server that listens on `host`.

    A server for this machine alone answers to this machine's names only: otherwise any web page that the user visits
    could reach it through a host name of its own that resolves to 127.0.0.1.
    """
    result = [Middleware(LimitBody)]
    if is_loopback(host):
        result.append(Middleware(TrustedHostMiddleware, allowed_hosts=["localhost", "127.0.0.1", "[::1]", host]))
    return result
