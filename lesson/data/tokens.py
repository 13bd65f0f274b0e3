"""Counting tokens with a tokenizer.json, where the package tokenizers is installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

from lesson.core.messages import UserError, tr
from lesson.core.settings import ROOT, Values
from lesson.core.text import shorten


def load_token_counter(folder: str) -> Callable[[str], int]:
    """Counts the tokens of a text with folder/tokenizer.json; no chat tokens are added. Raises UserError."""
    path = Path(folder) / "tokenizer.json"
    remedy = tr("name a folder with a tokenizer.json", "请给出含 tokenizer.json 的目录")
    try:
        from tokenizers import Tokenizer
    except ImportError:
        missing = tr("the package tokenizers is not installed", "没有安装 tokenizers")
        raise UserError("--tokenizer", missing, tr("run make setup", "请运行 make setup")) from None
    if not path.is_file():
        raise UserError(path, tr("no such file", "没有这个文件"), remedy)
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the Rust binding raises plain Exception
        raise UserError(path, shorten(str(error)), remedy) from None
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False))


def find_profile_tokenizer() -> str | None:
    """The folder of the tiny base, when that is the profile and both its tokenizer and the package are there."""
    folder = ROOT / "data" / "tiny-base"
    usable = Values({}).profile == "tiny" and importlib.util.find_spec("tokenizers")
    return str(folder) if usable and (folder / "tokenizer.json").is_file() else None


def choose_token_counter(folder: str | None) -> Callable[[str], int] | None:
    """The counter of the tokenizer in `folder`; by default the tiny base's where it can be had; none for "".

    Raises UserError for a folder without a tokenizer that can be read.
    """
    chosen = folder if folder is not None else find_profile_tokenizer()
    return load_token_counter(chosen) if chosen else None


def tokenizer_help() -> str:
    """What --tokenizer means."""
    return tr(
        "count tokens with it; default: the tiny base's where it is installed, '' is none",
        "用它数 token；默认 tiny 基座的（若已安装），'' 为不数",
    )
