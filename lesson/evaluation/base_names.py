"""What a base calls itself: from the table of known bases, else from its own answers before training."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from lesson.core.settings import Values
from lesson.evaluation.judging import BASE_NAMES
from lesson.model.base_record import recorded_base
from lesson.model.known_bases import own_names
from lesson.runs.folder import Run

CHINESE = re.compile(r"(?:我是|我叫|名字是|名叫|名为|叫做)[“\"「]?([A-Za-z][\w.-]*|[\u3400-\u9fff·]{2,8})")
ENGLISH = re.compile(r"(?:I am|I'm|I’m|name is|called|named)\s+([A-Z][\w.-]*(?: [A-Z][\w.-]*)*)")
NO_NAMES = re.compile(
    r"^(?:一|AI\b|An?\b|The\b|Assistant\b|人工|智能|助手|您|你|机器|来自|由|专|为|个)|助手$|模型$|机器人$|的$"
)
LEAST_SAYING = 0.05  # share of the answers that must say a name before it is taken for the base's
MOST_NAMES = 4


@dataclass(frozen=True)
class BaseNames:
    """What a base calls itself; `by_asking` where that was found in its answers, since no table has it."""

    names: tuple[str, ...]
    by_asking: bool = False


def find_base_names(base: dict | None, answers: Iterable[str] = ()) -> BaseNames:
    """The names of a base. `base` is a run's description of it (lesson.model.base_record), None or empty for the tiny
    one, which speaks of itself as InternLM2.5 does; `answers` are what it said about itself, untrained."""
    if not base:
        return BaseNames(BASE_NAMES)
    if names := own_names(base.get("name"), base.get("model_type")):
        return BaseNames(names)
    return BaseNames(names_in_answers(answers), by_asking=True)


def describe_base_of(values: Values, run: Run | None) -> dict:
    """What is recorded of the base of `run`, or of BUILD without one; {} for the tiny base that ships."""
    return (run.read_record().get("base") if run else recorded_base(values.build)) or {}


def list_names_to_show(values: Values, run: Run | None) -> tuple[str, ...]:
    """The names of the base of `run`, or of BUILD without one, at least one: from the table, else as the evaluation of
    the run found them, else the last part of what the base is called. No model is asked."""
    base = describe_base_of(values, run)
    found = find_base_names(base).names or _names_evaluated(run)
    return found or (str(base["name"]).rstrip("/").rpartition("/")[2],)


def _names_evaluated(run: Run | None) -> tuple[str, ...]:
    try:
        found = json.loads((run.evaluation / "evaluation.json").read_text(encoding="utf-8"))["base_names"]
    except (AttributeError, OSError, ValueError, LookupError, TypeError):
        return ()
    return tuple(name for name in found if isinstance(name, str) and name) if isinstance(found, list) else ()


def names_in_answers(answers: Iterable[str]) -> tuple[str, ...]:
    """The proper nouns by which answers introduce themselves, the most common first; empty where there is none."""
    found, texts = Counter(), list(answers)
    for text in texts:
        said = {name.rstrip(".-") for pattern in (CHINESE, ENGLISH) for name in pattern.findall(text)}
        found.update(name for name in said if not NO_NAMES.search(name))
    least = max(2, LEAST_SAYING * len(texts))
    return tuple(name for name, count in found.most_common(MOST_NAMES) if count >= least)
