"""The rules of training rows: the table rules.json with the severity and remedy of each, and the patterns of texts."""

from __future__ import annotations

import json
import re
from pathlib import Path

from lesson.core.findings import FindingRule
from lesson.core.text import display_width

TABLE_FILE = Path(__file__).with_name("rules.json")  # its form: schemas/row_rules.schema.json

_TABLE = json.loads(TABLE_FILE.read_text(encoding="utf-8"))
ROW_RULES: dict[str, FindingRule] = {name: FindingRule(**entry) for name, entry in _TABLE["rules"].items()}


def _any_pattern(name: str) -> str:
    return "|".join(_TABLE["patterns"][name])


# Names in published rows of the lesson, which their learners replace.
SOURCE_NAMES: tuple[str, ...] = tuple(
    json.loads(Path(__file__).with_name("source_names.json").read_text(encoding="utf-8"))["names"]
)


def _whole_text(*names: str) -> re.Pattern[str]:
    pattern = "|".join(map(_any_pattern, names))
    return re.compile(rf"\s*(?:{pattern})\s*[.。:：…!！]*\s*", re.IGNORECASE | re.DOTALL)


# Texts that only stand for one that was to be written. Their repetitions are bounded, for hostile rows.
PLACEHOLDER = _whole_text("placeholder")
PLACEHOLDER_SAID = _whole_text("placeholder_said")  # in what the assistant is or says; a question may be nothing else
PLACEHOLDER_PERHAPS = _whole_text("placeholder_perhaps")
ANY_PLACEHOLDER = _whole_text("placeholder", "placeholder_said", "placeholder_perhaps")
PLACEHOLDER_STARTS: str = _TABLE["placeholder_starts"]  # the characters that one may begin with, white space apart
PLACEHOLDER_INSIDE = re.compile(_any_pattern("placeholder_inside"))  # within a text; each holds two braces
ASKS_TEMPLATE = re.compile(_any_pattern("asks_template"), re.IGNORECASE)  # a question whose answer may hold places
TELLS_NAME = re.compile(_any_pattern("tells_name"), re.IGNORECASE)  # an answer that tells a name
# A question that may be about the name. Each alternative begins with a letter, so that the engine skips over all others.
NAMES_NAME = re.compile(_any_pattern("names_name"))
# Columns of a question for a name (a Han character has two): a longer one is about something else.
LONGEST_ASKING = 90
_ASKS_NAME = re.compile(_any_pattern("asks_name"), re.IGNORECASE)
_ASKS_OTHERWISE = re.compile(_any_pattern("asks_otherwise"), re.IGNORECASE)


def asks_name(question: str) -> bool:
    """Whether a question asks for the assistant's own name."""
    if len(question) > LONGEST_ASKING or not NAMES_NAME.search(question) or display_width(question) > LONGEST_ASKING:
        return False
    return bool(_ASKS_NAME.search(question)) and not _ASKS_OTHERWISE.search(question)
