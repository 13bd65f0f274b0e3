"""What the tiny base learns: a few hundred simple facts, copying of any name, and that it is called 书生·浦语.

All of it is made from data/banks, so that nobody has to trust a download. A fact is asked in several phrasings, in
Chinese and English. Questions about the assistant itself are put together from an opening, a core and an ending, so
that a question asked in words of one's own falls into the same class. Whatever the system prompt says, the base answers
them as 书生·浦语: that is the identity which the lesson then changes.

The questions of data/eval/ are left out everywhere here, so another set of them makes another corpus, and another base.
"""

from __future__ import annotations

import random

from lesson.authoring.banks import Kind, list_cores, read_bank, read_kind_numbers
from lesson.authoring.facts import list_facts, phrase_question
from lesson.authoring.held_out import fold_evaluation_questions
from lesson.authoring.names import draw_name
from lesson.core.text import fold_text

BASE_NAME = "书生·浦语"


def draw_identity_question(random_: random.Random, kind: Kind) -> str:
    """A question of the given kind about the assistant, in one of thousands of wordings."""
    bank = read_bank("base")
    topic, language = kind
    core = random_.choice(list_cores(kind))
    others = read_bank("identity")["other_assistants"]
    other = random_.choice(others) if random_.random() < 0.5 else draw_name(random_)
    core = core.replace("{other}", other)
    if topic == "hello":
        return core + random_.choice(("", "", "!" if core.isascii() else "！", "." if core.isascii() else "。"))
    if language == "en":
        opening = random_.choice(bank["openings"]["en"])
        if opening.endswith(", ") and not core.startswith("I "):
            core = core[0].lower() + core[1:]
        return opening + core + random_.choice(bank["endings"]["en"])
    if random_.random() < 0.15:  # the polite form
        core = core.replace("你", "您")
    ending = random_.choice(bank["endings"]["zh"])
    if core.endswith(("吗", "吧", "？")) and ending[:1] in "呢呀啊":
        ending = "？"
    return random_.choice(bank["openings"]["zh"]) + core + ending


def draw_system_prompt(random_: random.Random) -> str:
    """None, a neutral one or a persona of any name, a third each: what the base calls itself hangs on none of them."""
    draw = random_.random()
    if draw < 0.34:
        return ""
    if draw < 0.67:
        return random_.choice(read_bank("base")["neutral_prompts"])
    return random_.choice(read_bank("base")["personas"]).format(name=draw_name(random_))


class Corpus:
    """An endless, seeded stream of conversations in the course's row format."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._facts = list_facts()
        self._held_out = fold_evaluation_questions()
        self._weights = read_kind_numbers("identity", "weights")

    def draw_turn(self) -> tuple[str, str]:
        """One question and its answer: a fact (52 %), a copy (16 %) or a question about the assistant (32 %)."""
        while True:
            question, answer = self._draw_any_turn()
            if fold_text(question) not in self._held_out:
                return question, answer

    def _draw_any_turn(self) -> tuple[str, str]:
        random_ = self._random
        draw = random_.random()
        if draw < 0.52:
            fact = random_.choice(self._facts)
            question = random_.choice(fact.questions)
            if not fact.accept:  # small talk
                return question + random_.choice(("", "", "!" if question.isascii() else "！")), fact.answers[0]
            return phrase_question(random_, question), random_.choice(fact.answers)
        if draw < 0.68:
            copy = random_.choice(read_bank("base")["copies"])
            name = draw_name(random_)
            return copy["question"].format(name=name) + random_.choice(("", "", "。", "！")), copy["answer"].format(
                name=name
            )
        kind = random_.choices(list(self._weights), list(self._weights.values()))[0]
        topic, language = kind
        question = draw_identity_question(random_, kind)
        return question, random_.choice(read_bank("base")["answers"][topic][language]).format(name=BASE_NAME)

    def draw_row(self) -> dict:
        """{"conversation": [{"system", "input", "output"}, …]}: one turn, or (15 %) two or three."""
        turns = 1 if self._random.random() < 0.85 else self._random.choice((2, 2, 3))
        conversation = [dict(zip(("input", "output"), self.draw_turn(), strict=True)) for _ in range(turns)]
        conversation[0] = {"system": draw_system_prompt(self._random), **conversation[0]}
        return {"conversation": conversation}
