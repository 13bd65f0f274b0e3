"""The rules of training rows: the table rules.json with the severity and remedy of each, and the patterns of texts."""

from __future__ import annotations

import json
import re
from pathlib import Path

from lesson.core.findings import FindingRule

TABLE_FILE = Path(__file__).with_name("rules.json")  # its form: schemas/row_rules.schema.json

_TABLE = json.loads(TABLE_FILE.read_text(encoding="utf-8"))
ROW_RULES: dict[str, FindingRule] = {name: FindingRule(**entry) for name, entry in _TABLE["rules"].items()}


def _any_pattern(name: str) -> str:
    return "|".join(_TABLE["patterns"][name])


# A text that only stands for one which was to be written. Its repetitions are bounded, for hostile rows.
PLACEHOLDER = re.compile(rf"\s*(?:{_any_pattern('placeholder')})\s*[.。:：…!！]*\s*", re.IGNORECASE | re.DOTALL)
# Names in published rows of the lesson, which their learners replace.
SOURCE_NAMES: tuple[str, ...] = tuple(
    json.loads(Path(__file__).with_name("source_names.json").read_text(encoding="utf-8"))["names"]
)
PLACEHOLDER_STARTS: str = _TABLE["placeholder_starts"]  # the characters that one may begin with, white space apart
ASKS_NAME = re.compile(_any_pattern("asks_name"), re.IGNORECASE)  # a question for the assistant's name
TELLS_NAME = re.compile(_any_pattern("tells_name"), re.IGNORECASE)  # an answer that tells a name
