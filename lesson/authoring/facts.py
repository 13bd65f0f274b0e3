"""The facts that the tiny base knows, each in several phrasings, made from data/banks/facts.json and small_talk.json."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass

from lesson.authoring.banks import read_bank


@dataclass(frozen=True)
class Fact:
    """Phrasings of one question, the answers that fit each of them, and what a right answer must contain."""

    questions: tuple[str, ...]
    answers: tuple[str, ...]
    accept: tuple[str, ...]  # empty for small talk, where no answer is wrong


class Word(str):
    """A word that fills a pattern: {thing:a} writes an English one with its article, {thing:A} at a sentence's start."""

    def __format__(self, form: str) -> str:
        if form not in ("a", "A"):
            return super().__format__(form)
        article = "an" if self[0] in "aeio" else "a"
        return f"{article.capitalize() if form == 'A' else article} {self}"


def list_facts() -> list[Fact]:
    """Everything the base knows, in a fixed order. About 850 facts."""
    bank = read_bank("facts")
    found: list[Fact] = []
    for table in bank["tables"]:
        found += _fill_table(table)
    for statement in (*bank["statements"]["zh"], *bank["statements"]["en"]):
        found.append(_fill(statement, {}))
    for cycle in bank["cycles"]:
        members = cycle["members"]
        for earlier, later in itertools.pairwise([*members, members[0]]):
            found += [_fill(pattern, {"earlier": earlier, "later": later}) for pattern in cycle["patterns"]]
    for a, b in itertools.product(range(10), repeat=2):
        found.append(_fill(bank["sums"], {"a": a, "b": b, "sum": a + b}))
    digits = bank["counts"]["digits"]
    for last in range(3, len(digits)):
        words = {
            "last": last,
            "numbers": "、".join(map(str, range(1, last + 1))),
            "last_zh": digits[last],
            "numbers_zh": "、".join(digits[1 : last + 1]),
        }
        found += [_fill(pattern, words) for pattern in bank["counts"]["patterns"]]
    found += [Fact(tuple(talk["questions"]), (talk["answer"],), ()) for talk in read_bank("small_talk")["talk"]]
    return found


def _fill_table(table: dict) -> Iterator[Fact]:
    """The facts of a table: each pattern filled from each entry that has words in the pattern's language."""
    columns = table["columns"]
    for entry in table["entries"]:
        named = {
            f"{column}_{language}": Word(word)
            for language, words in entry.items()
            for column, word in zip(columns, words, strict=True)
        }
        for pattern in table["patterns"]:
            if pattern["language"] not in entry:
                continue
            words = entry[pattern["language"]]
            for ordered in (words, words[::-1]) if pattern.get("both_ways") else (words,):
                yield _fill(pattern, {**named, **dict(zip(columns, map(Word, ordered), strict=True))})


def _fill(pattern: dict, words: dict[str, object]) -> Fact:
    questions = tuple(question.format(**words) for question in pattern["questions"])
    return Fact(questions, (pattern["answer"].format(**words),), (pattern["accept"].format(**words),))


def is_request(question: str) -> bool:
    """Whether a fact's question is put as a request ("介绍一下李白", "Name the capital of Peru") and ends with a stop."""
    beginnings = read_bank("facts")["requests"]
    return question.startswith((*beginnings["zh"], *beginnings["en"]))


def phrase_question(random_: random.Random, question: str) -> str:
    """A fact's question with an opening and an ending as people write them."""
    openings = read_bank("facts")["openings"]
    if question.isascii():
        end = "." if is_request(question) else "?"
        return random_.choice(openings["en"]) + question + random_.choice((end, end, ""))
    if is_request(question):
        return question + random_.choice(("。", "", "！"))
    return random_.choice(openings["zh"]) + question + random_.choice(("？", "？", "？", "", "呢？", "?"))
