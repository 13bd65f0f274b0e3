"""What every server of the recipe refuses before it reads: requests that are too large, or that another site sent.

ASGI middleware, shared by web.py and serve.py. Standard ones where starlette has them.
"""

from __future__ import annotations

import ipaddress
import os
import socket

from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware

from lesson.core.messages import UserError, tr

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


def loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens on `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def middleware(host: str) -> list[Middleware]:
    """The middleware of a server that listens on `host`.

    A server for this machine alone answers to this machine's names only: otherwise any web page that the user visits
    could reach it through a host name of its own that resolves to 127.0.0.1.
    """
    result = [Middleware(LimitBody)]
    if loopback(host):
        result.append(Middleware(TrustedHostMiddleware, allowed_hosts=["localhost", "127.0.0.1", "[::1]", host]))
    return result


def can_listen(host: str, port: int) -> None:
    """Raise UserError when nothing can listen on `host` and `port`: asked before the model is loaded."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise UserError(
            f"HOST={host} PORT={port}",
            tr(f"cannot listen there: {error.strerror}", f"无法监听：{error.strerror}"),
            tr("choose another PORT, or stop what uses it", "请换一个 PORT，或停止占用它的程序"),
        ) from None


def direct_loopback() -> None:
    """Keep requests to this machine away from a proxy that the environment names (gradio asks its own server once)."""
    for key in ("no_proxy", "NO_PROXY"):
        os.environ[key] = ",".join(filter(None, [os.environ.get(key), "127.0.0.1", "localhost"]))
