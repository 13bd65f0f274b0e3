"""A visitor gets the page in the language of the browser, and everything that it asks for later as well."""

from __future__ import annotations

import asyncio
import contextlib
from types import SimpleNamespace

import pytest

from lesson.core import messages
from lesson.core.messages import in_language, is_language_chosen, language, set_language, tr
from lesson.serving.visitor_language import ByVisitorLanguage, prefer_language


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("zh", "zh"),
        ("ZH-Hant-TW", "zh"),
        ("en-US,en;q=0.9", "en"),
        ("en;q=0.5, zh;q=0.7", "zh"),
        ("fr-FR,fr;q=0.9,zh;q=0.3", "zh"),
        ("fr,de;q=0.5", "en"),
        ("zh;q=0, *", "en"),
        ("*", "en"),
        ("", "en"),
        ("zh;q=much,;;,q=1", "en"),
        ("zhx, zh_CN", "en"),
        ("zh;q=nan", "en"),
        ("zh," * 20_000, "zh"),
    ],
)
def test_the_header_s_favourite_of_both_languages_is_taken(accepted, expected):
    assert prefer_language(accepted) == expected


def test_who_sends_no_header_gets_the_server_s_language():
    assert prefer_language(None) == "en"
    set_language("zh")
    assert prefer_language(None) == "zh"


@pytest.mark.parametrize(
    ("flag", "environment", "chosen"),
    [
        (None, {"LANG": "zh_CN.UTF-8"}, False),
        (None, {"LANG": "C.UTF-8"}, False),
        (None, {}, False),
        (None, {"LANG": "zh"}, True),
        (None, {"LANG": "en"}, True),
        (None, {"LANG": "zh_CN.UTF-8", messages.LANG_CHOSEN: "1"}, True),
        (None, {"LANG": "zh_CN.UTF-8", messages.LANG_CHOSEN: ""}, False),
        ("zh_CN.UTF-8", {}, True),
    ],
)
def test_a_language_that_somebody_chose_is_not_the_system_s_locale(flag, environment, chosen, monkeypatch):
    for name in ("LANG", messages.LANG_CHOSEN):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    set_language(flag)
    assert is_language_chosen() is chosen


def test_each_reader_has_messages_in_the_own_language_in_threads_too():
    async def answer(name: str) -> list[str]:
        with in_language(name):
            said = [tr("en", "zh")]
            await asyncio.sleep(0.01)
            return [*said, tr("en", "zh"), await asyncio.to_thread(language)]

    async def both():
        return await asyncio.gather(answer("zh"), answer("en"))

    assert asyncio.run(both()) == [["zh"] * 3, ["en"] * 3]
    assert language() == "en"


def ask(app, *headers: tuple[bytes, bytes], kind: str = "http") -> list[dict]:
    sent: list[dict] = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "lifespan.startup"}

    asyncio.run(app({"type": kind, "headers": headers}, receive, send))
    return sent


def make_app(name: str, lived: list[str]):
    @contextlib.asynccontextmanager
    async def lifespan(app):
        lived.append(f"{name} starts")
        yield
        lived.append(f"{name} ends")

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-page", name.encode())]})

    app.router = SimpleNamespace(lifespan_context=lifespan)
    return app


def test_requests_go_to_the_page_that_speaks_the_language_and_caches_are_told():
    lived: list[str] = []
    app = ByVisitorLanguage({name: make_app(name, lived) for name in ("en", "zh")})
    for accepted, name in ((b"zh-CN", b"zh"), (b"fr", b"en")):
        (start,) = ask(app, (b"accept-language", accepted))
        assert dict(start["headers"]) == {b"x-page": name, b"vary": b"Accept-Language"}
    assert [message["type"] for message in ask(app, kind="lifespan")] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]
    assert lived == ["en starts", "zh starts", "zh ends", "en ends"]


def test_a_language_that_was_chosen_is_everybody_s():
    (start,) = ask(ByVisitorLanguage({"zh": make_app("zh", [])}), (b"accept-language", b"en-US"))
    assert (b"x-page", b"zh") in start["headers"]
