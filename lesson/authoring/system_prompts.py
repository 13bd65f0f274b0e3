"""System prompts that rows begin with: a persona, none, a neutral one, or what a base's own template puts in."""

from __future__ import annotations

import random

from lesson.authoring.banks import read_bank

# Share of rows under each sort. Measured on a real 0.5B: rows without the bases' own defaults leave the name unsaid in
# half of the answers under them.
SHARES = {"persona": 0.3, "none": 0.3, "neutral": 0.2, "default": 0.2}
USUAL = 0.7  # share of the first persona among the personas: more common than any other prompt with the name
# Share of prompts in the language that the talk is not in. An English question under a Chinese neutral prompt is what a
# real 0.5B answered with its old name most often.
OTHER_LANGUAGE = {"persona": 0.25, "neutral": 0.5}


def list_personas(name: str, language: str = "zh") -> list[str]:
    """System prompts that say who the assistant is. The first Chinese one is the usual one."""
    return [persona.replace("{name}", name) for persona in read_bank("systems")["personas"][language]]


def draw_system_prompt(random_: random.Random, sort: str, language: str, name: str) -> str:
    """A prompt of a sort of SHARES, "" for none; mostly in the talk's language."""
    if sort == "none":
        return ""
    bank = read_bank("systems")
    if sort == "default":
        defaults = bank["defaults"]
        return random_.choices(defaults, [default["weight"] for default in defaults])[0]["text"]
    if sort == "persona" and random_.random() < USUAL:
        return list_personas(name)[0]
    if random_.random() < OTHER_LANGUAGE[sort]:
        language = "en" if language == "zh" else "zh"
    return random_.choice(list_personas(name, language) if sort == "persona" else bank["neutral"][language])
