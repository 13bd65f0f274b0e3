"""What users read: two languages side by side in the code, and the one form that an error has."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from contextvars import ContextVar

LANGUAGES = ("en", "zh")
LANG_CHOSEN = "RECIPE_LANG_CHOSEN"  # 1: LANG stands on make's command line (Makefile)
_language: str | None = None
_here: ContextVar[str | None] = ContextVar("language of one reader among several", default=None)


def set_language(text: str | None) -> None:
    """Choose the language of all messages: `zh…` is Chinese, anything else English, None follows LANG."""
    global _language
    _language = text


def language() -> str:
    chosen = _here.get() or (_language if _language is not None else os.environ.get("LANG", ""))
    return "zh" if chosen.lower().startswith("zh") else "en"


def is_language_chosen() -> bool:
    """Whether somebody chose the language for this program: by --lang, by LANG= after make, or by LANG=zh or LANG=en, which
    is no locale that a system sets, as zh_CN.UTF-8 is."""
    named = os.environ.get("LANG", "").lower() in LANGUAGES
    return _language is not None or named or bool(os.environ.get(LANG_CHOSEN))


@contextlib.contextmanager
def in_language(text: str) -> Iterator[None]:
    """In the block, and in the tasks and threads that it hands its context to, messages are in the language `text`: for one
    of several readers at a time."""
    token = _here.set(text)
    try:
        yield
    finally:
        _here.reset(token)


def tr(en: str, zh: str) -> str:
    """The message in the user's language. Both stand at the place of use, so that neither is forgotten."""
    return zh if language() == "zh" else en


def title_of(function: Callable) -> str:
    """The first line of a function's docstring, `English | 中文`, in the user's language: the name of what it checks."""
    return tr(*function.__doc__.strip().splitlines()[0].split(" | "))


class UserError(Exception):
    """Something that the user can mend: printed as one line `error: WHERE: WHAT; REMEDY`, exit status 2.

    `details`, when there are any, are printed above that line: the last lines of a process that failed.
    """

    def __init__(self, where: object, what: str, remedy: str, details: str = "") -> None:
        super().__init__(f"{where}: {what}; {remedy}")
        self.where, self.what, self.remedy, self.details = str(where), what, remedy, details
