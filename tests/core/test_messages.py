"""Messages in two languages: which is chosen, and that both say the same figures."""

from __future__ import annotations

import ast
import re

import pytest

from lesson.core.messages import UserError, language, set_language, title_of, tr
from lesson.core.settings import ROOT


@pytest.mark.parametrize(
    ("chosen", "lang", "expected"),
    [
        (None, "zh_CN.UTF-8", "zh"),
        (None, "ZH", "zh"),
        (None, "en_US", "en"),
        (None, "", "en"),
        ("en", "zh_CN.UTF-8", "en"),
        ("zh-TW", "C", "zh"),
        ("", "zh_CN.UTF-8", "en"),
    ],
)
def test_the_language_is_the_chosen_one_else_that_of_the_system(monkeypatch, chosen, lang, expected):
    monkeypatch.setenv("LANG", lang)
    monkeypatch.setattr("lesson.core.messages._language", None)
    set_language(chosen)
    assert language() == expected and tr("en", "zh") == expected


def test_a_title_is_the_first_line_of_a_docstring():
    def check():
        """English | 中文

        More.
        """

    assert title_of(check) == tr("English", "中文")


def test_an_error_is_one_line():
    error = UserError(3, "what", "remedy")
    assert str(error) == "3: what; remedy" and (error.where, error.details) == ("3", "")


def figures_of(node: ast.expr) -> tuple[set[str], set[str]]:
    """(what a message computes where it is shown, the numbers in its words)."""
    holes = [part for part in ast.walk(node) if isinstance(part, ast.FormattedValue)]
    computed = {
        ast.unparse(hole)
        for hole in holes
        if any(
            isinstance(part, (ast.BinOp, ast.Compare)) or (isinstance(part, ast.Constant) and type(part.value) is int)
            for part in ast.walk(hole.value)
        )
    }
    inside = {id(part) for hole in holes for part in ast.walk(hole)}
    words = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and id(part) not in inside]
    return computed, set(re.findall(r"\d+", " ".join(map(str, words))))


def test_both_languages_of_a_message_say_the_same_figures():
    """A share, a size or an index that is computed in one language alone, or otherwise, is a slip in one of them."""
    different, count = [], 0
    for path in sorted((ROOT / "lesson").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "tr" and len(node.args) == 2:
                english, chinese = map(figures_of, node.args)
                count += 1
                if english != chinese:
                    different.append(f"{path.relative_to(ROOT)}:{node.lineno}: {english} ≠ {chinese}")
    assert count > 1000 and not different, "\n".join(different)
