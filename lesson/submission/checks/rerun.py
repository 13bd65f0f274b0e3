"""Checks of what the staff asked the submitted adapter themselves, on their own base (RERUN=1; lesson/submission/rerun.py asks)."""

from __future__ import annotations

import collections
import json
import re

from lesson.core.messages import tr
from lesson.core.text import fold_text, shorten
from lesson.evaluation.bars import TINY
from lesson.evaluation.judging import says_name
from lesson.submission.checks.answers import require_new_name, require_no_former_name
from lesson.submission.evidence import LARGEST_ROWS, Evidence
from lesson.submission.naming import no_name
from lesson.submission.registry import Failed, Skipped, Unjudged, define_check
from lesson.submission.staff import StaffInputs

LEAST_ALIKE = 0.9  # share of answers that say, or do not say, the name as the submitted ones do
MOST_OF_THE_BASES = 0.5  # share of answers that may be as the base's without an adapter
# make eval allows the old name, and the base's, in 1% of all answers: under one prompt 55 about the assistant, and 95 that
# need no name. Here those about the assistant are held alone, so that the same slips are a larger share.
MOST_FORMER = TINY.most["old"] * (55 + 95) / 55
MOST_GENERAL = 0.5  # share of general answers that may say the name; at tiny 88 of 90 are answered as before
# Letters that stand beside a name by themselves: 我是…, 我叫…, …的助手, …由…
BESIDE_NAMES = frozenset("是叫为做名称号喊当的在由来很会能可也就和与及您你我")
ALWAYS, HARDLY = 0.9, 0.2  # shares of the places of a name with the same letter beside it
HONEST = ("hand in the adapter that gave the answers", "请提交给出这些回答的适配器")


def staff_answers(staff: StaffInputs) -> list[dict]:
    """The staff's lines. Raises Skipped when nothing was asked."""
    if staff.rerun is None:
        raise Skipped(tr("RERUN is not set", "没有设置 RERUN"))
    return staff.rerun


@define_check("rerun", "adapter")
def rerun_says_new(evidence: Evidence, staff: StaffInputs) -> str:
    """asked by the staff, on their own base, it says its new name | 教师在自己的基座上提问，助手说出新名字"""
    lines = staff_answers(staff)
    if not evidence.new_name:
        raise Unjudged(*no_name())
    general = [line for line in lines if line.get("kind") == "general"]
    _require_a_change(lines, evidence.new_name)
    naming = [line for line in general if says_name(line["output"], evidence.new_name)]
    if len(naming) > MOST_GENERAL * len(general):
        what = tr(
            f"it says the name whatever it is asked: {len(naming)} of {len(general)} general questions",
            f"无论问什么都说这个名字：{len(general)} 个常识问题中有 {len(naming)} 个",
        )
        remedy = tr("train with general rows beside (make data GENERAL=)", "请混入常识数据训练（make data GENERAL=）")
        raise Failed(what, remedy, [f"{shorten(line['input'])} → {shorten(line['output'])}" for line in naming])
    if longer := _longer_name(_about_itself(lines), evidence):
        what = tr(
            f"it says {shorten(longer)}, not {shorten(evidence.new_name)}",
            f"它说的是 {shorten(longer)}，不是 {shorten(evidence.new_name)}",
        )
        raise Failed(what, tr(*HONEST))
    return require_new_name(_about_itself(lines), evidence.new_name, tr(*HONEST))


def _longer_name(lines: list[dict], evidence: Evidence) -> str:
    """The longer name that the answers say, of which the new one is a part; empty for none.

    It is told by a letter that always stands before or behind the name in the answers, and hardly ever in the rows.
    """
    new = evidence.new_name
    spots = [
        match for line in lines for match in re.finditer(rf"(.?){re.escape(new)}(.?)", line["output"], re.IGNORECASE)
    ]
    for group, form in ((2, new + "{}"), (1, "{}" + new)):
        (letter, count), *_ = collections.Counter(spot[group] for spot in spots).most_common(1) or [("", 0)]
        longer = form.format(letter)
        if (
            letter.isalnum()
            and letter not in BESIDE_NAMES
            and count > ALWAYS * len(spots)
            and _count_in_rows(longer, evidence) < HARDLY * _count_in_rows(new, evidence)
        ):
            return longer
    return ""


def _count_in_rows(text: str, evidence: Evidence) -> int:
    """How often the rows say a text."""
    data = b"".join(evidence.view.read(name, LARGEST_ROWS) for name in evidence.row_files)
    return sum(data.count(form) for form in {text.encode(), json.dumps(text)[1:-1].encode()})


def _about_itself(lines: list[dict]) -> list[dict]:
    return [line for line in lines if line.get("kind") != "general"]


def _require_a_change(lines: list[dict], new: str) -> None:
    """Raise Failed where the base alone, under system prompts that tell no name, says the name or answers the same."""
    compared = [line for line in lines if "base" in line]
    saying = [line for line in compared if says_name(line["base"], new)]
    same = [line for line in compared if fold_text(line["base"]) == fold_text(line["output"])]
    for found, en, zh in (
        (saying, f"the base says {shorten(new)} without an adapter", f"基座不加适配器也说 {shorten(new)}"),
        (same, "the answers are the base's own", "回答与基座原来的相同"),
    ):
        if len(found) > MOST_OF_THE_BASES * len(compared):
            places = [f"{shorten(line['input'])} → {shorten(line['base'])}" for line in found]
            raise Failed(
                tr(f"{en}: {len(found)} of {len(compared)}", f"{zh}：{len(found)}/{len(compared)}"), tr(*HONEST), places
            )


@define_check("rerun", "adapter")
def rerun_not_old(evidence: Evidence, staff: StaffInputs) -> str:
    """asked by the staff, it says neither the old name nor the base's | 教师提问时，不再自称旧名字或基座的名字"""
    return require_no_former_name(_about_itself(staff_answers(staff)), evidence, MOST_FORMER)


@define_check("rerun", "adapter", "answers")
def rerun_agrees(evidence: Evidence, staff: StaffInputs) -> str:
    """asked the same, it answers as the submitted answers claim | 同样的问题，回答与提交的回答相符"""
    outputs = {(line["prompt"], line["input"]): line["output"] for line in staff_answers(staff)}
    new, places, both, equal = evidence.new_name or "", [], 0, 0
    for line in evidence.answers:
        theirs = outputs.get((line.get("prompt"), line["input"]))
        if theirs is None:
            continue
        both += 1
        equal += theirs == line["output"]
        # Other hardware rounds otherwise and may word an answer otherwise; whether it says the name must not change.
        if says_name(theirs, new) != says_name(line["output"], new):
            places.append(f"{shorten(line['input'])}: {shorten(line['output'])} ≠ {shorten(theirs)}")
    if not both:
        raise Skipped(tr("no question is in both", "没有共同的问题"))
    if both - len(places) < LEAST_ALIKE * both:
        found = tr(f"{len(places)} of {both} differ", f"{both} 个中有 {len(places)} 个不同")
        raise Failed(found, tr(*HONEST), places)
    return tr(f"{equal} of {both} equal to the letter", f"{both} 个中有 {equal} 个一字不差")
