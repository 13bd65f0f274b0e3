"""The check that a submission is not a published run, handed in as one's own."""

from __future__ import annotations

import math
from collections.abc import Iterator

from lesson.config.summary import lookup
from lesson.core.messages import tr
from lesson.core.refusals import Broken
from lesson.submission.evidence import Evidence
from lesson.submission.published import PublishedRun
from lesson.submission.registry import Failed, Skipped, define_check
from lesson.submission.staff import StaffInputs

WINDOW = 10  # steps that mmengine's log averages
FEWEST = 8  # steps in common below which nothing is said
SAME_STEPS = 0.5  # share of equal losses, in full precision, that no two runs have by chance
SAME_LINES = 0.9  # … of equal lines of a log, which has four decimals of a mean
DECIMALS = 6e-5


@define_check("adapter", after=("opens",))
def own(evidence: Evidence, staff: StaffInputs) -> str:
    """adapter, log, losses and answers are not another's | 适配器、日志、损失和回答不是他人的"""
    found, repeated = [], []
    for run in staff.published:
        same = list(same_parts(run, evidence))
        # Times never repeat, so that an equal log is a copy; all else may repeat where everything that went in did.
        if same and "log" not in same and may_repeat(run, evidence):
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
    """What of the submission equals the published run's: adapter, log, answers, loss."""
    for kind, digest in evidence.fingerprints.items():
        if run.fingerprints.get(kind) == digest:
            yield kind
    exact: dict[int, float] = {}
    try:
        if "curve" in evidence.parts:
            exact = {point.step: point.loss for point in evidence.curve}
        elif "record" in evidence.parts:
            exact = {point["step"]: point["loss"] for point in evidence.record["curve"]}
    except Broken:
        pass  # its own check says so
    equal = [exact[step] == loss for step, loss in run.curve.items() if step in exact]
    if _mostly(equal, SAME_STEPS) or _mostly(_equal_lines(run, evidence), SAME_LINES):
        yield "loss"


def _mostly(equal: list[bool], share: float) -> bool:
    return len(equal) >= FEWEST and sum(equal) >= share * len(equal)


def _equal_lines(run: PublishedRun, evidence: Evidence) -> list[bool]:
    """For each line of the log, whether its loss is the mean of the published run's last WINDOW losses."""
    try:
        points = evidence.log.points if "log" in evidence.parts else []
    except Broken:
        return []
    equal = []
    for point in points:
        last = [run.curve.get(step) for step in range(max(1, point.step - WINDOW + 1), point.step + 1)]
        if None not in last:
            equal.append(math.isclose(point.loss, sum(last) / len(last), rel_tol=0, abs_tol=DECIMALS))
    return equal


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
