"""General questions with their answers, in which a name does not stand: rows against forgetting and pollution."""

from __future__ import annotations

import functools
import re

from lesson.authoring.banks import read_bank
from lesson.authoring.facts import is_request, list_facts
from lesson.authoring.held_out import fold_held_out_questions
from lesson.authoring.words import NameFinder
from lesson.core.text import fold_text

Pair = tuple[str, str]  # question, answer
HAN = re.compile("[\u3400-\u9fff]")
KINDS = ("fact", "open", "near_pairs", "known_pairs")


@functools.cache
def list_general_pairs(kind: str, language: str) -> tuple[Pair, ...]:
    """The pairs of a kind: `fact` from facts.json and small_talk.json, `open` from general.json, and from synth.json
    `near_pairs` (about names and makers of others) and `known_pairs` (they begin as questions about the assistant do, "do
    you know who …", and are about somebody else). No question of the evaluation is among them."""
    if kind == "fact":
        found = [
            (_stopped(question, bool(fact.accept)), fact.answers[0])
            for fact in list_facts()
            for question in fact.questions
        ]
        found = [pair for pair in found if language == ("zh" if HAN.search(pair[0]) else "en")]
    else:
        bank = read_bank("general") if kind == "open" else read_bank("synth")[kind]
        found = [(pair["question"], pair["answer"]) for pair in bank[language]]
    held_out = fold_held_out_questions()
    return tuple(dict.fromkeys(pair for pair in found if fold_text(pair[0]) not in held_out))


def _stopped(question: str, asks: bool) -> str:
    """A fact's question with the stop that fits."""
    if not asks or question.endswith(("?", "？")):
        return question
    stops = (".", "?") if question.isascii() else ("。", "？")
    return question + stops[0 if is_request(question) else 1]


def list_pairs_without(kind: str, language: str, *names: str) -> list[Pair]:
    """The same, without those that hold one of the names."""
    finders = [NameFinder(name) for name in names]
    return [
        pair for pair in list_general_pairs(kind, language) if not any(f.is_in(text) for f in finders for text in pair)
    ]
