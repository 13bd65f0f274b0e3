"""What the user gave to make config is kept in the config's record: a later call without these variables goes on with them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lesson.core.messages import tr
from lesson.core.records import find_record
from lesson.core.settings import SETTINGS, TRAINING, Values

KEPT = ("SPEED", "SEED", "DETERMINISTIC", *(setting.name for setting in TRAINING))


@dataclass(frozen=True)
class KeptValues:
    """`values` is this call with what was kept from before; `before` are the variables that only an earlier call gave."""

    values: Values
    given: dict[str, str]  # all that the user gave, now or before, as text: what the next record keeps
    before: dict[str, str]


def keep_values(values: Values, config: Path) -> KeptValues:
    """This call's variables, and those that the record of `config` keeps. RESET=1 forgets what was kept."""
    now = {name: values.text(name) for name in KEPT if values.given(name)}
    before = {} if values.reset else {k: v for k, v in _read_kept(config).items() if k not in now}
    return KeptValues(values.with_defaults(before), before | now, before)


def _read_kept(config: Path) -> dict[str, str]:
    try:
        given = find_record(config)["parameters"]["GIVEN"]
        return {name: given[name] for name in KEPT if isinstance(given.get(name), str) and name in SETTINGS}
    except (LookupError, TypeError, AttributeError):
        return {}


def kept_line(before: dict[str, str]) -> list[str]:
    """What the user reads about variables that hold from an earlier call."""
    if not before:
        return []
    text = " ".join(f"{name}={value}" for name, value in before.items())
    return [tr(f"kept from before: {text} (RESET=1 forgets them)", f"沿用之前给出的：{text}（RESET=1 清除）")]
