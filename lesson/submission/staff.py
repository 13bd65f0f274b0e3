"""What the staff add to a submission: their source rows, their base, published runs, answers that they got themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lesson.core.files import read_json, readable
from lesson.core.messages import tr
from lesson.core.settings import Values

if TYPE_CHECKING:
    from lesson.model.shape import Shape
    from lesson.submission.published import PublishedRun
    from lesson.submission.trained_again import Retrained


@dataclass(frozen=True)
class StaffInputs:
    """What checks may hold a submission against. A check that needs what is not there is skipped."""

    source: str | None = None  # the file of the course's rows
    base: Shape | None = None  # of the staff's MODEL
    published: Sequence[PublishedRun] = ()
    rerun: list[dict] | None = None  # lines as in answers.jsonl, asked by the staff
    retrained: Retrained | None = None  # what the staff's own training gave


def read_staff_inputs(values: Values) -> StaffInputs:
    """What the staff's settings add. Raises UserError when SOURCE, PUBLISHED or MODEL is not there."""
    from lesson.model.shape import shape_of
    from lesson.submission.published import load_published

    source = values.text("SOURCE") or None
    if source:
        readable(source, tr("set SOURCE to the course's rows", "请把 SOURCE 设为课程数据"))
    base = None
    if values.model:
        path = Path(values.model) / "config.json"
        remedy = tr("set MODEL to the folder of a base model", "请把 MODEL 设为基座模型目录")
        base = shape_of(read_json(path, remedy), path)
    return StaffInputs(source=source, base=base, published=load_published(values.text("PUBLISHED") or None))


def names_given(values: Values) -> dict[str, str]:
    """Names, of keys old and new, for folders that declare none: only what was typed counts."""
    return {key: getattr(values, f"{key}_name") for key in ("new", "old") if values.given(f"{key.upper()}_NAME")}
