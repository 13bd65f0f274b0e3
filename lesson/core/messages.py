"""What users read: two languages side by side in the code, and the one form that an error has."""

from __future__ import annotations

import os
from collections.abc import Callable

_language: str | None = None


def set_language(text: str | None) -> None:
    """Choose the language of all messages: `zh…` is Chinese, anything else English, None follows LANG."""
    global _language
    _language = text


def language() -> str:
    chosen = _language if _language is not None else os.environ.get("LANG", "")
    return "zh" if chosen.lower().startswith("zh") else "en"


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
