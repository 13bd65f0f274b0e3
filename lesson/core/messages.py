"""What users read: two languages side by side in the code, and the one form that an error has."""

from __future__ import annotations

import os

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


class UserError(Exception):
    """Something that the user can mend: printed as one line `error: WHERE: WHAT; REMEDY`, exit status 2."""

    def __init__(self, where: object, what: str, remedy: str) -> None:
        super().__init__(f"{where}: {what}; {remedy}")
        self.where, self.what, self.remedy = str(where), what, remedy
