"""Talks about the assistant and about the world, in Chinese and English, put together from data/banks/synth.json."""

from __future__ import annotations

import functools
import random
import re

from lesson.authoring.banks import read_bank
from lesson.authoring.general_pairs import KINDS as GENERAL_KINDS
from lesson.authoring.general_pairs import Pair, list_pairs_without
from lesson.authoring.held_out import is_near_held_out
from lesson.authoring.words import Decks, Words, Wrong, fill_places

Talk = list[Pair]  # (question, answer) of each turn
OPENING, ENDING, POLITE = 0.5, 0.12, 0.1  # shares of questions with an opening, an ending, and 您 for 你
NEVER_POLITE = re.compile("[啥您喂]|来头|何方|报上|你好")
STATEMENT = re.compile(r"I\b|I'|My|我|想知道|!")
MAY_BE_REQUESTS = ("plain", "able", "maker", "role", "own_pairs")  # kinds in which a full stop ends a request
PAIRS = {"own_pairs": "own_pairs", "own_pairs_more": "more_own_pairs"}  # the bank's field by kind
MORE = "_more"  # ends a kind whose questions are the bank's `more_questions`: those that the tiny base did not learn


@functools.cache
def list_questions(kind: str, language: str) -> tuple[str, ...]:
    """The patterns of questions of a kind; those that are near a question of the evaluation are left out."""
    bank = read_bank("synth")
    patterns = (bank["more_questions"] if kind.endswith(MORE) else bank["questions"])[kind.removesuffix(MORE)][language]
    return tuple(pattern for pattern in patterns if not is_near_held_out(pattern))


@functools.cache
def list_talks(field: str, language: str) -> tuple[tuple[Pair, ...], ...]:
    """The patterns of whole talks in a field of the bank. In talks of several turns, what is pressed for counts, so that
    only the whole may not be one of the evaluation's; "who are you?" to begin with is everybody's."""
    talks = (tuple((turn["question"], turn["answer"]) for turn in talk) for talk in read_bank("synth")[field][language])
    return tuple(talk for talk in talks if not is_near_held_out(talk[-1][0]))


class Talks:
    """Draws talks with an assistant called `name`, trained by `author` ("" for people who like to learn)."""

    def __init__(self, name: str, author: str, random_: random.Random, wrong: Wrong | None = None) -> None:
        self._name, self._random = name, random_
        self._decks = Decks(random_)
        self._words = Words(name, author, random_, self._decks, wrong or Wrong())
        self._general: dict[tuple[str, str], list[Pair]] = {
            (kind, language): list_pairs_without(kind, language, name)
            for kind in GENERAL_KINDS
            for language in ("zh", "en")
        }

    def draw(self, kind: str, language: str, greeting: bool = False) -> Talk:
        """A talk of a kind of the bank's weights. With `greeting`, general questions get one, which makes them others."""
        if kind in GENERAL_KINDS:
            return [self._draw_general(kind, language, greeting)]
        if kind in PAIRS:
            question, answer = self._decks.deal((kind, language), self._pairs(kind, language))
            words = self._words.fill(language)
            question = fill_places(self._phrase(question, "own_pairs", language), words)
            return [(question, fill_places(answer, words))]
        if kind in ("user", "user_more", "user_plain", "pressed"):
            words = self._words.fill(language)
            talk = self._decks.deal((kind, language), self._whole_talks(kind, language))
            return [(fill_places(question, words), fill_places(answer, words)) for question, answer in talk]
        if kind == "mixed":
            parts = [self.draw(self._random.choice(("plain", "other", "maker", "hello", "old")), language)]
            parts += [self.draw("fact", language) for _ in range(self._random.choice((1, 1, 2)))]
            self._random.shuffle(parts)
            return [turn for part in parts for turn in part]
        if kind == "situation":
            return [self._draw_in_situation(language)]
        topic = kind.removesuffix(MORE)
        words = self._words.fill(language, topic)
        pattern = self._decks.deal((kind, language), list_questions(kind, language))
        question = self._phrase(pattern, topic, language)
        answer = self._decks.deal(("answer", topic, language), read_bank("synth")["answers"][topic][language])
        return [(fill_places(question, words), fill_places(answer, words))]

    def _draw_in_situation(self, language: str) -> Pair:
        """A plain question of either list behind a sentence about the user, which changes nothing about the answer."""
        situation = self._decks.deal(("situation", language), read_bank("synth")["situations"][language])
        ((question, answer),) = self.draw(self._random.choice(("plain", "plain" + MORE)), language)
        return situation + (" " if language == "en" else "") + question, answer

    def _draw_general(self, kind: str, language: str, greeting: bool) -> Pair:
        pool = self._general[kind, language]
        if not pool:  # the name stands in all of them
            pool = next((self._general[k, lang] for lang in (language, "zh", "en") for k in GENERAL_KINDS if self._general[k, lang]), None)  # fmt: skip
        if pool is None:
            raise LookupError
        question, answer = self._decks.deal(("general", id(pool)), pool)
        if greeting:
            opening = self._random.choice(read_bank("synth")["greetings"][language])
            question = opening + question
        return question, answer

    def _pairs(self, kind: str, language: str) -> list[Pair]:
        return [
            (pair["question"], pair["answer"])
            for pair in read_bank("synth")[PAIRS[kind]][language]
            if not is_near_held_out(pair["question"])
        ]

    def _whole_talks(self, kind: str, language: str) -> list[tuple[Pair, ...]]:
        if kind == "pressed":
            return list(list_talks("pressed_talks", language))
        talks = list_talks("user_talks", language)
        about_it = [any("{name}" in answer for _, answer in talk) for talk in talks]
        wanted = {"user": (True, False), "user_more": (True, True), "user_plain": (False, None)}[kind]
        return [
            talk
            for talk, own in zip(talks, about_it, strict=True)
            if own == wanted[0] and wanted[1] in (None, len(talk) > 1)
        ]

    def _phrase(self, pattern: str, kind: str, language: str) -> str:
        """The pattern with an opening and an ending as people write them; its places stay open."""
        random_, bank = self._random, read_bank("synth")
        bare, text = pattern.startswith("!"), pattern.lstrip("!")
        asks = text.endswith(("？", "?"))
        polite = language == "zh" and kind in ("plain", "maker", "able")
        if polite and random_.random() < POLITE and not NEVER_POLITE.search(text):
            text = text.replace("你", "您")
        if not bare and random_.random() < OPENING:
            openings = [*bank["openings"][language]["any"]]
            if asks and (
                language == "en" or text.endswith("吗？") or kind in ("plain", "maker", "able", "nature", "own_pairs")
            ):
                openings += bank["openings"][language]["question"]
            opening = random_.choice(openings)
            if language == "en" and opening.endswith(", ") and not re.match(r"I\b|\{", text):
                text = text[0].lower() + text[1:]
            text = opening + text
        statement = not asks and (kind not in MAY_BE_REQUESTS or STATEMENT.match(pattern) or "__" in text)
        if kind != "hello" and not bare and not statement and random_.random() < ENDING:
            endings = bank["endings"][language]["question" if asks else "request"]
            text += (" " if language == "en" else "") + random_.choice(endings)
        return text
