"""The names and words that fill the questions of synth.json, none of which may be the assistant's own name."""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from lesson.authoring.banks import read_bank
from lesson.core.text import fold_text

PLACE = re.compile(r"\{(name|other|another|company|user|role|author)\}")


@dataclass(frozen=True)
class Wrong:
    """Shares of made-up names among the wrong ones, in questions that call the assistant by one.

    A name of nobody can be told from its own only by knowing its own: an English sentence with a Chinese name in it was
    what a real base repeated longest (docs/figures.md).
    """

    former: float = 0.9  # among those that it is said to have had or is called by
    elsewhere: float = 0.5  # among all others
    put_together: float = 0.8  # of the made-up ones, those that are put together here; the rest are the bank's
    foreign: float = 0.9  # of those in an English sentence, the Chinese ones


class NameFinder:
    """Finds a name in texts: folded, and where it begins or ends with a Latin letter or digit, as a whole word."""

    def __init__(self, name: str) -> None:
        self.folded = fold_text(name)
        plain = unicodedata.normalize("NFKC", name).casefold().strip()
        before, after = (r"(?<![a-z0-9])" if plain[:1].isascii() and plain[:1].isalnum() else "",
                         r"(?![a-z0-9])" if plain[-1:].isascii() and plain[-1:].isalnum() else "")  # fmt: skip
        self._pattern = re.compile(before + re.escape(plain) + after)

    def is_in(self, text: str) -> bool:
        """Whether the text holds the name."""
        return bool(self._pattern.search(unicodedata.normalize("NFKC", text).casefold()))


class Decks:
    """Draws from pools: each entry comes once before any comes again."""

    def __init__(self, random_: random.Random) -> None:
        self._random = random_
        self._left: dict[object, list] = {}

    def deal(self, key: object, pool: Sequence) -> object:
        """An entry of `pool`, which is always the same for the same key."""
        if not self._left.get(key):
            self._left[key] = list(pool)
            self._random.shuffle(self._left[key])
        return self._left[key].pop()


class Words:
    """Fills the places of patterns. No word is `name`, holds it or is part of it, nor is one the author."""

    def __init__(self, name: str, author: str, random_: random.Random, decks: Decks, wrong: Wrong) -> None:
        self._name, self._author, self._random, self._decks = name, author, random_, decks
        self._wrong = wrong
        finder = NameFinder(name)
        self._free = lambda word: not (finder.is_in(word) or NameFinder(word).is_in(name))
        bank = read_bank("synth")["words"]
        self._pools = {
            (kind, language): [word for word in bank[kind][language] if self._free(word) and word != author]
            or bank[kind][language][:1]
            for kind in bank
            for language in ("zh", "en")
        }

    def fill(self, language: str, kind: str = "") -> dict[str, str]:
        """{place: word} for one talk; those for "old" and "call" mostly hold names of nobody."""
        made_up = self._wrong.former if kind in ("old", "call") else self._wrong.elsewhere
        other = self._draw_assistant(language, made_up)
        another = other
        while another == other:
            another = self._draw_assistant(language, 0.0)
        dealt = {
            place: self._decks.deal((pool, language), self._pools[pool, language])
            for place, pool in (("company", "companies"), ("user", "users"), ("role", "roles"))
        }
        author = self._author or read_bank("synth")["authors"][language]
        return {"name": self._name, "other": other, "another": another, "author": author, **dealt}

    def _draw_assistant(self, language: str, made_up: float) -> str:
        """The name of another assistant: a known one, or with this probability one of nobody."""
        if self._random.random() >= made_up:
            return self._decks.deal(("others", language), self._pools["others", language])
        if language == "en" and self._random.random() < self._wrong.foreign:
            language = "zh"
        if self._random.random() >= self._wrong.put_together:
            return self._decks.deal(("invented", language), self._pools["invented", language])
        for _ in range(100):
            word = self._put_together(language)
            if self._free(word):
                return word
        return self._decks.deal(("invented", language), self._pools["invented", language])

    def _put_together(self, language: str) -> str:
        choose = self._random.choice
        if language == "zh":
            characters = read_bank("synth")["characters"]
            later = "".join(choose(characters["later"]) for _ in range(choose((1, 1, 2))))
            return choose(characters["first"]) + later
        names = read_bank("names")
        return (choose(names["syllables"]) + choose(names["syllables"])).capitalize() + choose(names["endings"])


def fill_places(pattern: str, words: dict[str, str]) -> str:
    """The pattern with its places filled in one pass, so that a brace in a name stays what it is."""
    return PLACE.sub(lambda match: words[match[1]], pattern)
