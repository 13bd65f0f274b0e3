"""Made-up names, Chinese and Latin, as people give them to assistants and pets."""

from __future__ import annotations

import random

from lesson.authoring.banks import read_bank


def draw_character(random_: random.Random, level: int = 1) -> str:
    """A character of GB 2312: level 1 are rows 16 to 54 (common ones), level 2 rows 56 to 87."""
    row = random_.randrange(16, 55) if level == 1 else random_.randrange(56, 88)
    return bytes((row + 0xA0, random_.randrange(1, 95) + 0xA0)).decode("gb2312")


def draw_name(random_: random.Random) -> str:
    """Two to four characters, a Latin word, or both with a number."""
    bank = read_bank("names")
    draw = random_.random()
    syllables = random_.choices(bank["syllables"], k=random_.choice((1, 2, 2, 3)))
    latin = "".join(syllables).capitalize() + random_.choice(bank["endings"])
    if draw < 0.6:
        length = random_.choice((2, 2, 3, 3, 4))
        return "".join(draw_character(random_, 1 if random_.random() < 0.9 else 2) for _ in range(length))
    if draw < 0.75:
        return latin
    if draw < 0.85:
        return f"{latin}{random_.choice(bank['separators'])}{random_.randrange(100)}"
    if draw < 0.93:
        return random_.choice(bank["before_latin"]) + latin
    return random_.choice(bank["before_character"]) + draw_character(random_)
