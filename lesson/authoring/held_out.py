"""The evaluation's questions, which no row made here may ask: an answer learned by heart would prove nothing."""

from __future__ import annotations

import functools
import itertools
import json
import re
from pathlib import Path

from lesson.authoring.banks import read_bank
from lesson.core.settings import ROOT
from lesson.core.text import fold_text

EVALUATION = ROOT / "data" / "eval"
NEAR = 0.7  # from here on, two questions count as the same in other words
HAN = re.compile("[\u3400-\u9fff]")
PLACE = re.compile(r"\{\w+\}")


def read_evaluation_questions(folder: Path = EVALUATION) -> list[str]:
    """The questions about the assistant, then the general ones."""
    return [
        question["input"]
        for name in ("identity", "general")
        for question in json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))["questions"]
    ]


def read_identity_turns(folder: Path = EVALUATION) -> list[str]:
    """Every turn of every question about the assistant, of all sets; {old} stands for the old name."""
    return [
        turn
        for name in ("identity", "identity_tune", "identity_report")
        for question in json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))["questions"]
        for turn in (*question.get("before", ()), question["input"])
    ]


def fold_evaluation_questions(folder: Path = EVALUATION) -> frozenset[str]:
    """The same, without case, white space and punctuation: compare `fold_text(question)` with them."""
    return frozenset(fold_text(question) for question in read_evaluation_questions(folder))


def fold_held_out_questions(folder: Path = EVALUATION) -> frozenset[str]:
    """As fold_evaluation_questions, with those for real bases, all turns, among them."""
    return fold_evaluation_questions(folder) | {fold_text(turn) for turn in read_identity_turns(folder)}


@functools.cache
def known_names() -> re.Pattern:
    """Names of assistants and their makers, and places of patterns: what makes two questions differ in nothing else."""
    bank = read_bank("synth")["words"]
    names = {name for kind in ("others", "invented", "companies") for names in bank[kind].values() for name in names}
    names |= {*read_bank("identity")["other_assistants"], "尖米", "书生·浦语", "阿里"}
    longest_first = sorted(names, key=lambda name: (-len(name), name))
    latin = [
        rf"\b{re.escape(name)}\b" if name[0].isascii() and name[0].isalpha() else re.escape(name)
        for name in longest_first
    ]
    return re.compile("|".join([PLACE.pattern, *latin]))


@functools.lru_cache(maxsize=100_000)
def list_grams(question: str) -> frozenset:
    """Trigrams of folded characters of a Chinese question, pairs of folded words of another; all names are made alike."""
    text = known_names().sub(" xx ", question)
    if HAN.search(text):
        line = f"^{fold_text(text)}$"
        return frozenset(line[i : i + 3] for i in range(len(line) - 2)) or frozenset([line])
    words = ["^", *filter(None, map(fold_text, re.split(r"[\s,.?!:;]+", text.replace("'", "")))), "$"]
    return frozenset(itertools.pairwise(words))


def find_nearest_question(question: str, others: list[str]) -> tuple[float, str]:
    """(Jaccard similarity from 0 to 1, the one of `others` that is nearest to the question)."""
    grams = list_grams(question)
    return max(
        ((len(grams & other) / len(grams | other), text) for text, other in ((o, list_grams(o)) for o in others)),
        default=(0.0, ""),
    )


def is_near_held_out(pattern: str) -> bool:
    """Whether a question, or a pattern of questions, is one of the evaluation's in hardly other words."""
    return find_nearest_question(pattern.lstrip("!"), read_identity_turns())[0] >= NEAR
