"""What the base of a run, or of BUILD, calls itself and is called."""

from __future__ import annotations

from lesson.core.settings import Values
from lesson.evaluation.judging import BASE_NAMES
from lesson.model.base_record import recorded_base
from lesson.model.known_bases import own_names


def find_base_names(values: Values, record: dict | None) -> tuple[str, ...]:
    """The names by which the base speaks of itself, else the last part of its own. `record` is the run's, None without.

    The tiny base that ships, which no record describes, speaks of itself as InternLM2.5 does.
    """
    base = recorded_base(values.build) if record is None else record.get("base")
    if not base:
        return BASE_NAMES
    return own_names(base["name"], base["model_type"]) or (str(base["name"]).rstrip("/").rpartition("/")[2],)
