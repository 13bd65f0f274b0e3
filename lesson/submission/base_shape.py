"""The sizes of the base that a submission was trained on."""

from __future__ import annotations

from lesson.config.summary import lookup
from lesson.core.files import read_json
from lesson.core.messages import tr
from lesson.core.refusals import Broken
from lesson.core.settings import ROOT
from lesson.core.text import shorten
from lesson.model import known_bases
from lesson.model.shape import Shape, shape_of
from lesson.submission.evidence import Evidence
from lesson.submission.registry import Unjudged
from lesson.submission.staff import StaffInputs


def _is_lessons(evidence: Evidence) -> bool:
    """Whether a base that nothing names may be taken for the lesson's: XTuner's model class at 7B, with its template."""
    try:
        template = lookup(evidence.config, "template")[0]
    except (Broken, KeyError):
        return evidence.profile == "7b"
    name = getattr(template, "name", str(template)).rpartition(".")[2]
    return evidence.profile == "7b" and name in ("internlm2_chat", "None")


def base_shape(evidence: Evidence, staff: StaffInputs) -> Shape:
    """The sizes of the base: of the tiny one, by the base's name, of the staff's MODEL, else those of the lesson's.

    Raises Unjudged for a base of another family whose sizes are not known here.
    """
    if evidence.on_shipped_base:
        path = ROOT / "data" / "tiny-base" / "config.json"
        return shape_of(read_json(path, ""), path)
    base = evidence.base
    if base in known_bases.BASE_SIZES:
        return shape_of(known_bases.BASE_SIZES[base], base)
    if staff.base is not None:
        return staff.base
    if base is None and evidence.base_name is None and _is_lessons(evidence):
        return shape_of({**known_bases.SIZES_7B, "model_type": "internlm2"}, "7b")
    name = "-".join(base).replace("_", ".") + "B" if base else shorten(str(evidence.base_name or ""))
    name = name or tr("the base, which nothing names,", "没有写明的基座")
    raise Unjudged(
        tr(f"the sizes of {name} are not known here", f"这里不知道 {name} 的尺寸"),
        tr("set MODEL to the folder of that base", "请把 MODEL 设为该基座的目录"),
    )
