"""The check that a submission is not a published run, handed in as one's own."""

from __future__ import annotations

from collections.abc import Iterator

from lesson.config.summary import lookup
from lesson.core.messages import tr
from lesson.core.refusals import Broken
from lesson.submission.evidence import Evidence
from lesson.submission.likeness import compare_sketches, sketch_curve, sketch_submission
from lesson.submission.published import PublishedRun
from lesson.submission.registry import Failed, Skipped, define_check
from lesson.submission.staff import StaffInputs


@define_check("adapter", after=("opens",))
def own(evidence: Evidence, staff: StaffInputs) -> str:
    """adapter, log, losses and answers are not another's | 适配器、日志、损失和回答不是他人的"""
    found, repeated = [], []
    for run in staff.published:
        same = list(same_parts(run, evidence))
        # Times never repeat, so that they are a copy; all else may repeat where everything that went in did.
        if same and not {"log", "times"} & set(same) and may_repeat(run, evidence):
            repeated.append(run.name)
        else:
            found += [f"{kind} = {run.name}" for kind in same]
    if found:
        raise Failed(
            tr("the same as what is known: ", "与已知成果相同：") + ", ".join(found),
            tr("hand in your own work", "请提交自己的成果"),
            found,
        )
    if not evidence.parts.keys() & {"adapter", "log", "answers"}:
        raise Skipped(tr("nothing to compare", "没有可比较的内容"))
    if repeated:
        return tr(
            f"equal to the published run {repeated[0]}, whose rows, seed and name it has: cannot be told apart",
            f"与已公布的 {repeated[0]} 相同，数据、种子、名字也相同：无法区分",
        )
    return tr("compared with known work", "已与已知成果比较")


def same_parts(run: PublishedRun, evidence: Evidence) -> Iterator[str]:
    """What of the submission equals the published run's, in its bytes or by content: adapter, log, answers, loss."""
    for kind, digest in evidence.fingerprints.items():
        if run.fingerprints.get(kind) == digest:
            yield kind
    known = run.sketch | ({} if "losses" in run.sketch else sketch_curve(run.curve))
    found = compare_sketches(known, sketch_submission(evidence, known.keys()))
    # Rows that differ in one name alone have nearly the same losses on a base that knows the language; not the very same.
    rows = evidence.view.sha256(evidence.parts["data"]) if "data" in evidence.parts else None
    for part, likeness in found.items():
        may_be_near = part == "losses" and run.data is not None and run.data != rows and not likeness.exact
        if likeness.alike and part != "answers" and not may_be_near:
            yield "loss" if part == "losses" else part


def may_repeat(run: PublishedRun, evidence: Evidence) -> bool:
    """Whether rows, seed and name are the published run's: then an honest run may repeat it to the bit."""
    if run.data is None or not {"data", "config"} <= evidence.parts.keys():
        return False
    try:
        seed = lookup(evidence.config, "seed")[0]
    except Broken:
        return False
    identity = (evidence.view.sha256(evidence.parts["data"]), seed, evidence.new_name)
    return identity == (run.data, run.seed, run.new)
