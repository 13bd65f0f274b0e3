"""The check that a submission is not somebody else's work."""

from __future__ import annotations

from lesson.core.messages import tr
from lesson.submission import published
from lesson.submission.evidence import Evidence
from lesson.submission.fingerprints import fingerprints
from lesson.submission.registry import Context, Failed, Skipped, check


@check("adapter", after=("opens",))
def own(evidence: Evidence, context: Context) -> str:
    """adapter, log, losses and answers are not another's | 适配器、日志、损失和回答不是他人的"""
    found = [
        f"{kind} = {whose}"
        for kind, digest in fingerprints(evidence).items()
        if (whose := context.known.get(kind, {}).get(digest))
    ]
    may_be = []
    for run in context.published:
        same = list(published.alike(run, evidence))
        # Times never repeat, so that an equal log is a copy; all else may repeat where everything that went in did.
        if same and "log" not in same and published.by_right(run, evidence):
            may_be.append(run.name)
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
    if may_be:
        return tr(
            f"equal to the published run {may_be[0]}, whose rows, seed and name it has: cannot be told apart",
            f"与已公布的 {may_be[0]} 相同，数据、种子、名字也相同：无法区分",
        )
    return tr("compared with known work", "已与已知成果比较")
