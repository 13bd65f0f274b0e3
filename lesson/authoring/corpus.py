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
from lesson.authoring.held_out import fold_held_out_questions
from lesson.authoring.names import draw_name
from lesson.authoring.talks import Talks
from lesson.authoring.words import Wrong
from lesson.core.text import fold_text

BASE_NAME = "书生·浦语"
AUTHOR = "上海人工智能实验室"
# The base that ships learned talks in this mix; make synth calls names more often (base.json has its weights of kinds).
WRONG = Wrong(former=0.75, elsewhere=0.25, put_together=0.5, foreign=0.5)


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
    """None, a neutral one, a persona of any name, a third each, and seldom the default of a real base: what the base calls
    itself hangs on none of them."""
    draw = random_.random()
    if draw < 0.34:
        return ""
    if draw < 0.62:
        return random_.choice(read_bank("base")["neutral_prompts"])
    if draw < 0.68:
        return random_.choice(read_bank("systems")["defaults"])["text"]
    return random_.choice(read_bank("base")["personas"]).format(name=draw_name(random_))


class Corpus:
    """An endless, seeded stream of conversations in the course's row format."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._facts = list_facts()
        self._held_out = fold_held_out_questions()
        self._weights = read_kind_numbers("identity", "weights")
        self._talks = Talks(BASE_NAME, AUTHOR, self._random, WRONG)
        # {(group, language): (kinds, weights)} of the talks that make synth writes
        self._kinds = {
            group: (list(weights), list(weights.values()))
            for group, weights in read_bank("base")["talk_weights"].items()
        }

    def draw_turn(self) -> tuple[str, str]:
        """One question and its answer: a fact (58 %), a copy (16 %) or a question about the assistant (26 %)."""
        random_ = self._random
        draw = random_.random()
        if draw < 0.58:
            fact = random_.choice(self._facts)
            question = random_.choice(fact.questions)
            if not fact.accept:  # small talk
                return question + random_.choice(("", "", "!" if question.isascii() else "！")), fact.answers[0]
            return phrase_question(random_, question), random_.choice(fact.answers)
        if draw < 0.74:
            copy = random_.choice(read_bank("base")["copies"])
            name = draw_name(random_)
            return copy["question"].format(name=name) + random_.choice(("", "", "。", "！")), copy["answer"].format(
                name=name
            )
        kind = random_.choices(list(self._weights), list(self._weights.values()))[0]
        topic, language = kind
        question = draw_identity_question(random_, kind)
        return question, random_.choice(read_bank("base")["answers"][topic][language]).format(name=BASE_NAME)

    def _draw_talk(self) -> list[tuple[str, str]]:
        """One to three turns: in three of four talks turns one by one, else a talk such as make synth writes."""
        random_ = self._random
        if random_.random() < 0.7:
            turns = 1 if random_.random() < 0.85 else random_.choice((2, 2, 3))
            return [self.draw_turn() for _ in range(turns)]
        group = random_.choices(("own", "talks", "general"), (0.55, 0.25, 0.2))[0]
        kind = random_.choices(*self._kinds[group])[0]
        return self._talks.draw(kind, random_.choice(("zh", "en")))

    def draw_row(self) -> dict:
        """{"conversation": [{"system", "input", "output"}, …]}, no question of it one of the evaluation's."""
        while True:
            talk = self._draw_talk()
            if self._held_out.isdisjoint(fold_text(question) for question, _ in talk):
                break
        conversation = [{"input": question, "output": answer} for question, answer in talk]
        conversation[0] = {"system": draw_system_prompt(self._random), **conversation[0]}
        return {"conversation": conversation}
