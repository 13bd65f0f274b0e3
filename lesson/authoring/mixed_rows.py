"""General rows for make data GENERAL=: mixed into rows of one's own, against forgetting and pollution."""

from __future__ import annotations

import collections
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TextIO

from lesson.authoring.general_pairs import HAN, KINDS, list_pairs_without
from lesson.authoring.quotas import share_out
from lesson.core.settings import Values
from lesson.core.text import fold_text
from lesson.data.prepare import PreparedRows, prepare_rows

MOST_PROMPTS = 1000  # different system prompts of the rows that are told apart; later ones are not taken up


@dataclass
class GeneralMixer:
    """Looks at the user's rows as they pass, then draws general rows that suit them.

    They come under the rows' own system prompts, in the rows' own languages, and hold none of `names`. `share` is that
    of general rows in the whole, from 0 to 0.9.
    """

    share: float
    seed: int
    names: tuple[str, ...]
    _prompts: collections.Counter = field(default_factory=collections.Counter)
    _languages: collections.Counter = field(default_factory=collections.Counter)
    _asked: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._pools = {
            language: [pair for kind in KINDS for pair in list_pairs_without(kind, language, *self.names)]
            for language in ("zh", "en")
        }
        self._questions = {fold_text(question) for pool in self._pools.values() for question, _ in pool}

    def take_row(self, turns: list[dict]) -> None:
        """Take in a row's conversation, as it is trained on."""
        system = turns[0].get("system") or ""
        if system in self._prompts or len(self._prompts) < MOST_PROMPTS:
            self._prompts[system] += 1
        self._languages["zh" if HAN.search(turns[0]["input"]) else "en"] += 1
        self._asked |= self._questions.intersection(fold_text(turn["input"]) for turn in turns)

    @property
    def wanted(self) -> int:
        """How many general rows the share asks for."""
        return round(self._languages.total() * self.share / (1 - self.share))

    def draw_rows(self) -> Iterator[str]:
        """`wanted` rows as JSON text, or as many as there are, the same for the same rows and seed."""
        random_ = random.Random(self.seed)
        pairs = []
        for language, count in share_out(self._languages, self.wanted).items():
            pool = [pair for pair in self._pools[language] if fold_text(pair[0]) not in self._asked]
            random_.shuffle(pool)
            first = dict.fromkeys(answer for _, answer in pool)  # each answer once before any comes again
            fresh = [pair for pair in pool if first.pop(pair[1], 0) is None]
            taken = set(fresh)
            pairs += [*fresh, *(pair for pair in pool if pair not in taken)][:count]
        random_.shuffle(pairs)
        prompts = [system for system, count in share_out(self._prompts, len(pairs)).items() for _ in range(count)]
        random_.shuffle(prompts)
        for (question, answer), system in zip(pairs, prompts, strict=True):
            turn = ({"system": system} if system else {}) | {"input": question, "output": answer}
            yield json.dumps({"conversation": [turn]}, ensure_ascii=False)


def prepare_mixed_rows(values: Values, problems: TextIO) -> PreparedRows:
    """As prepare_rows, with general rows behind the user's where GENERAL is given and more than 0."""
    share = values.general if values.given("GENERAL") else 0.0
    mixer = GeneralMixer(share, values.seed, (values.new_name, values.old_name)) if share else None
    return prepare_rows(values, problems, mixer)
