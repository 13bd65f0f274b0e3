"""The page in the language of its visitor's browser: a page is built for each language, and requests are led to it.

Gradio's own I18n translates labels alone, in the browser; our texts also stand in tables, messages, choices and downloads
that are made when a visitor asks. Two whole pages need no second way of saying things: every text stays a tr(en, zh). A
browser sends the same Accept-Language with each of its requests, so that a visitor stays on one page without a cookie or
an address of its own, which a proxy (ROOT_PATH=) would have to know.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders

from lesson.core.messages import LANGUAGES, language


def prefer_language(accepted: str | None) -> str:
    """`zh` or `en` by an Accept-Language header (RFC 9110, 12.5.4): what its reader likes best of both, English where it
    names neither. Without the header, which every browser sends, the server's own."""
    if accepted is None:
        return language()
    likes = {}
    for part in accepted.split(","):
        tag, _, weight = part.partition(";")
        name = tag.strip().lower().partition("-")[0]
        with contextlib.suppress(ValueError):
            liking = float(weight.strip().removeprefix("q=")) if weight else 1.0
            if name in LANGUAGES and liking > 0:
                likes.setdefault(name, liking)
    return max(likes, key=likes.get, default="en")


class ByVisitorLanguage:
    """An ASGI application that hands each request to the one of `apps` ({language: application}) that speaks its visitor's
    language; where there is one alone, that one. All of them start and end with it."""

    def __init__(self, apps: Mapping[str, object]) -> None:
        self.apps = apps

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] == "lifespan":
            return await self.live(receive, send)
        preferred = prefer_language(Headers(scope=scope).get("accept-language"))
        app = self.apps.get(preferred) or next(iter(self.apps.values()))

        async def vary(message):
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).add_vary_header("Accept-Language")
            await send(message)

        await app(scope, receive, vary)

    async def live(self, receive, send) -> None:
        await receive()
        async with contextlib.AsyncExitStack() as stack:
            for app in self.apps.values():
                await stack.enter_async_context(app.router.lifespan_context(app))
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})
