"""The rules of check-config: the table rules.json with the severity of each, why it matters and what to do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from lesson.core.messages import tr

ERROR, WARNING = "error", "warning"
TABLE_FILE = Path(__file__).with_name("rules.json")  # its form: schemas/config_rules.schema.json


class Violation(NamedTuple):
    """One place where a config breaks a rule. `advice` are values that mend this very config; None: the rule's own."""

    rule: str
    line: int
    found: str
    advice: str | None = None


Violations = Iterator[Violation | tuple[str, int, str]]


@dataclass(frozen=True)
class ConfigRule:
    """One rule: `why` and `remedy` are texts by language (en, zh)."""

    severity: str
    why: dict[str, str]
    remedy: dict[str, str]

    def reason(self) -> str:
        """Why it matters, in the user's language."""
        return tr(self.why["en"], self.why["zh"]).replace("{fewest_steps}", str(FEWEST_STEPS))

    def advice(self) -> str:
        """What to do, in the user's language."""
        return tr(self.remedy["en"], self.remedy["zh"])


_TABLE = json.loads(TABLE_FILE.read_text(encoding="utf-8"))
FEWEST_STEPS: int = _TABLE["fewest_steps"]  # of the optimizer: with fewer hardly anything is learned
CONFIG_RULES: dict[str, ConfigRule] = {name: ConfigRule(**entry) for name, entry in _TABLE["rules"].items()}
