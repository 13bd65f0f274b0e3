"""What all tests share: the language is English, nothing is written outside the test's own folder."""

from __future__ import annotations

import io

import pytest

from recipe import say


@pytest.fixture(autouse=True)
def english(monkeypatch):
    """Messages in English and no variable of the caller's environment reaches a stage, except where a test sets it."""
    from recipe.settings import SETTINGS

    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    say.set_language("en")
    yield
    say.set_language(None)


@pytest.fixture
def call():
    """call(module, *arguments) → (exit status, stdout, stderr) of a stage's main, without a process."""
    import contextlib

    def run(module, *arguments: str) -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = module.main(list(arguments))
        return status, out.getvalue(), err.getvalue()

    return run
