"""What a base calls itself: from the table of known bases, else from its own answers before training."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from lesson.evaluation.judging import BASE_NAMES
from lesson.model.known_bases import own_names

CHINESE = re.compile(r"(?:我是|我叫|名字是|名叫|名为|叫做)[“\"「]?([A-Za-z][\w.-]*|[\u3400-\u9fff·]{2,8})")
ENGLISH = re.compile(r"(?:I am|I'm|I’m|name is|called|named)\s+([A-Z][\w.-]*(?: [A-Z][\w.-]*)*)")
NO_NAMES = re.compile(
    r"^(?:一|AI\b|An?\b|The\b|Assistant\b|人工|智能|助手|您|你|机器|来自|由|专|为|个)|助手$|模型$|机器人$|的$"
)
LEAST_SAYING = 0.05  # share of the answers that must say a name before it is taken for the base's
MOST_NAMES = 4


def find_own_names(base: dict | None, answers: Iterable[str]) -> tuple[tuple[str, ...], bool]:
    """(names, whether they were found in its answers). `base` is the run's description of its base, None for the tiny
    one, which speaks of itself as InternLM2.5 does; `answers` are what it said about itself, untrained."""
    if not base:
        return BASE_NAMES, False
    if names := own_names(base.get("name"), base.get("model_type")):
        return names, False
    return names_in_answers(answers), True


def names_in_answers(answers: Iterable[str]) -> tuple[str, ...]:
    """The proper nouns by which answers introduce themselves, the most common first; empty where there is none."""
    found, texts = Counter(), list(answers)
    for text in texts:
        said = {name.rstrip(".-") for pattern in (CHINESE, ENGLISH) for name in pattern.findall(text)}
        found.update(name for name in said if not NO_NAMES.search(name))
    least = max(2, LEAST_SAYING * len(texts))
    return tuple(name for name, count in found.most_common(MOST_NAMES) if count >= least)
