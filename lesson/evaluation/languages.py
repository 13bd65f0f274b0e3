"""Which languages a base speaks: an assistant is judged only in those that its base could answer in before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from lesson.evaluation.held_out import LANGUAGES
from lesson.model.known_bases import known_languages

# Share of the general questions in a language that a base must answer right to be judged in it. SmolLM2-135M gets 1 in
# 50 of the Chinese ones, by chance; the weakest base that speaks a language (the same one, English) gets over half.
LEAST_RIGHT = 0.1


@dataclass(frozen=True)
class Languages:
    """The languages that are judged, in the order of LANGUAGES; `by_asking` where no table says so, but its answers."""

    judged: tuple[str, ...] = LANGUAGES
    by_asking: bool = False

    @property
    def left_out(self) -> tuple[str, ...]:
        return tuple(language for language in LANGUAGES if language not in self.judged)


def find_languages(base: dict | None, answered: Iterable[tuple[str, bool]]) -> Languages:
    """The languages of a base. `base` is a run's description of it, None or empty for the tiny one, which speaks both;
    `answered` are (language, whether right) of its answers to general questions, untrained.

    A base that answers in none of them is judged in all: nothing is known of it.
    """
    if not base:
        return Languages()
    if known := known_languages(base.get("name"), base.get("model_type")):
        return Languages(tuple(language for language in LANGUAGES if language in known))
    asked, right = Counter(), Counter()
    for language, is_right in answered:
        asked[language] += 1
        right[language] += is_right
    spoken = tuple(n for n in LANGUAGES if not asked[n] or right[n] >= LEAST_RIGHT * asked[n])
    return Languages(spoken or LANGUAGES, by_asking=True)
