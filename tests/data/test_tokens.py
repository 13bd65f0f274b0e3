"""Counting tokens: with the tokenizer that is named, by default the tiny base's where that is the profile."""

from __future__ import annotations

import importlib.util

import pytest

from lesson.core.messages import UserError
from lesson.core.settings import ROOT
from lesson.data import tokens

TINY = ROOT / "data" / "tiny-base"


def test_tokens_are_counted_without_those_of_the_chat():
    count = tokens.load_token_counter(str(TINY))
    assert count("") == 0 and 1 <= count("你好") <= 6 and count("你好" * 9) > count("你好")


def test_a_folder_without_a_tokenizer_is_told(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        tokens.load_token_counter(str(tmp_path))
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match=r"tokenizer\.json"):
        tokens.choose_token_counter(str(tmp_path))


@pytest.mark.parametrize(
    ("profile", "package", "file", "there"),
    [("tiny", True, True, True), ("7b", True, True, False), ("tiny", False, True, False), ("tiny", True, False, False), ("7b", False, False, False)],
)  # fmt: skip
def test_the_tiny_base_s_is_taken_where_it_is_the_profile_s_and_is_there(
    tmp_path, monkeypatch, profile, package, file, there
):
    folder = tmp_path / "data" / "tiny-base"
    folder.mkdir(parents=True)
    if file:
        (folder / "tokenizer.json").write_bytes((TINY / "tokenizer.json").read_bytes())
    monkeypatch.setattr(tokens, "ROOT", tmp_path)
    monkeypatch.setenv("PROFILE", profile)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if package else None)
    assert tokens.find_profile_tokenizer() == (str(folder) if there else None)
    assert (tokens.choose_token_counter(None) is not None) is there
    assert tokens.choose_token_counter("") is None
