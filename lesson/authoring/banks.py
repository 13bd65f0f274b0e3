"""The text banks of data/banks: tables of words, questions and answers, which the other modules here combine."""

from __future__ import annotations

import functools
import json

from lesson.core.settings import ROOT

FOLDER = ROOT / "data" / "banks"  # the form of the files: schemas/banks.schema.json
Kind = tuple[str, str]  # what a question about the assistant is about, and its language: ("maker", "en")


@functools.cache
def read_bank(name: str) -> dict:
    """The document data/banks/NAME.json, read once. Nobody may change it. Lists keep their order: seeds depend on it."""
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def list_cores(kind: Kind) -> list[str]:
    """What questions of a kind are built around, as "你叫什么"; those about "other" hold {other}, another's name."""
    topic, language = kind
    return read_bank("identity")["cores"][topic][language]


def read_kind_numbers(bank: str, field: str) -> dict[Kind, float]:
    """{kind: its number in the list `field` of a bank}, such as how often people ask questions of that kind."""
    return {(entry["topic"], entry["language"]): entry["number"] for entry in read_bank(bank)[field]}
