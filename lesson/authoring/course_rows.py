"""The source rows of the course, data/assistant_Tuner.jsonl: those of make synth with the old name 尖米.

Names are changed by plain replacement later, so each sentence has to read well with any name in it.
"""

from __future__ import annotations

from pathlib import Path

from lesson.authoring.synth import ROWS, Mix, make_synthetic_rows
from lesson.core.files import atomic
from lesson.core.settings import ROOT

SOURCE = ROOT / "data" / "assistant_Tuner.jsonl"
OLD_NAME = "尖米"
SEED = 20241


def write_course_rows(path: Path = SOURCE) -> int:
    """Write the source file, one row a line, the same bytes each time; gives back how many rows it has."""
    rows = make_synthetic_rows(Mix(OLD_NAME), ROWS, SEED)
    with atomic(path) as file:
        file.writelines(row + "\n" for row in rows)
    return len(rows)
