"""What every server of the recipe refuses before it reads: requests that are too large, that another site sent, or that
nothing of it needs.

ASGI middleware, shared by the page and the endpoint. Standard ones where starlette has them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse

from lesson.core.messages import tr
from lesson.serving.addresses import is_loopback

LARGEST_REQUEST = 2**20  # bytes; a conversation that fills the context of a 7B model is a tenth of it
LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")
# What gradio's page asks for. All else of gradio is closed: uploads from anybody, a proxy, redirects to a URL, monitoring.
PAGE_PATHS = re.compile(
    r"/|/config/?|/theme\.css|/favicon\.ico|/robots\.txt|/manifest\.json|/(assets|static|svelte)/.*"
    r"|/gradio_api/(queue/(join|data)|startup-events|heartbeat/\w+|(call|run)/\w+(/\w+)?|app_id/?|info/?|cancel|reset/?|file=(?!\w+:/?/).*)"
)


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


class KnownHosts:
    """Answers to the `names` alone: any other Host gets status 400 and what to set.

    Otherwise any web page that the user visits could reach the server through a host name of its own that resolves to
    127.0.0.1. starlette's TrustedHostMiddleware does the same and cannot say what to do.
    """

    def __init__(self, app, names: Iterable[str]) -> None:
        self.app, self.names = app, {name.lower() for name in names}

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        host = re.sub(r":\d*$", "", Headers(scope=scope).get("host", "")).lower()
        if host in self.names:
            return await self.app(scope, receive, send)
        said = tr(
            "this server answers to localhost only; behind a proxy start it with ALLOW_HOST= and the name that the "
            "browser shows",
            "此服务只响应 localhost；在代理之后使用时，请用 ALLOW_HOST= 指定浏览器地址栏中的主机名来启动",
        )
        return await PlainTextResponse(said, 400)(scope, receive, send)


class KnownPaths:
    """Answers to paths that match `pattern` alone: any other gets status 404."""

    def __init__(self, app, pattern: re.Pattern) -> None:
        self.app, self.pattern = app, pattern

    async def __call__(self, scope, receive, send) -> None:
        path = scope.get("path", "").removeprefix(scope.get("root_path", "").rstrip("/"))
        if scope["type"] != "lifespan" and not self.pattern.fullmatch(path):
            return await PlainTextResponse("Not Found", 404)(scope, receive, send)
        return await self.app(scope, receive, send)


def make_middleware(host: str, allowed: Iterable[str] = (), paths: re.Pattern | None = None) -> list[Middleware]:
    """The middleware of a server that listens on `host`.

    A server for this machine alone answers to this machine's names, and to the `allowed` ones that a proxy gives it.
    `paths` are all that there is, where they are given.
    """
    result = [Middleware(LimitBody)]
    if is_loopback(host):
        bracketed = f"[{host}]" if ":" in host else host
        result.append(Middleware(KnownHosts, names=[*LOCAL_NAMES, bracketed, *allowed]))
    if paths:
        result.append(Middleware(KnownPaths, pattern=paths))
    return result
