"""Who handed in the same as another, and what that means: a copy, or an honest repetition.

The recipe gives equal bits for equal inputs, so that two learners who chose the same name and seed have the same adapter,
losses and answers honestly. An accusation is made only of what no honest run has: another's adapter or losses under other
inputs, or a log and times that never repeat. Answers are short, and learned by heart: alone they accuse nobody.
"""

from __future__ import annotations

import collections
import itertools
import os
import re
from collections.abc import Iterator, Sequence

from lesson.core.messages import tr
from lesson.core.text import fold_text
from lesson.submission.identity import differ_in
from lesson.submission.likeness import find_alike
from lesson.submission.registry import FAILED, PASSED
from lesson.submission.scoring import award_points

VERY_LOSSES = "the very losses"  # but for a shift, a scale and rounding
EQUAL = "equal "  # before a part: all of it, but for how it is written
BITS = {"adapter", "losses"}  # what equal inputs repeat and others do not
TIMES = {"log", "times"}  # what nothing repeats
# Checks that fail where the adapter is not that of its own inputs: they tell whose of two equal ones is the copy.
TELLING = {
    "rerun_says_new",
    "rerun_not_old",
    "rerun_agrees",
    "inputs",
    "agree",
    "samples",
    "steps",
    "rates",
    "retrained",
}
# What systems and people add to the name of a later upload.
UPLOAD = re.compile(
    r"([ _-]*(\(\d+\)|（\d+）|副本|copy|final|最终版?|(v|ver|version|attempt|try|upload|第)[ _-]?\d+次?))+$"
)
ENDINGS = re.compile(r"\.(zip|tar|tgz|tar\.gz)$", re.IGNORECASE)


def mark_copies(verdicts: Sequence[dict], rubric: dict) -> None:
    """Fail the check `own` of submissions that are copies of each other, and say of honest repetitions that they are.

    Takes the keys "sketch" and "identity" out of the verdicts.
    """
    pairs = find_same_parts(verdicts)
    identities = [verdict.pop("identity", {}) for verdict in verdicts]
    accused: dict[int, list[str]] = collections.defaultdict(list)
    explained: dict[int, str] = {}
    uploads: dict[int, str] = {}
    for i, j, parts in pairs:
        one = is_one_learner(verdicts[i], verdicts[j])
        copied = copied_parts(parts, identities[i], identities[j])
        for mine, other in ((i, j), (j, i)):
            name = os.path.basename(verdicts[other]["submission"])
            if one:  # who hands in a friend's zip as it is, hands in the friend's name: the staff see it
                uploads.setdefault(mine, tr(f"the same as {name}, of the same learner", f"与 {name} 相同，学员也相同"))
            elif not copied and (parts & BITS or not differ_in(identities[i], identities[j])):
                explained.setdefault(
                    mine,
                    tr(
                        f"the same as {name}'s, which an equal name and seed explains",
                        f"与 {name} 相同：名字和种子相同时会如此",
                    ),
                )
            elif copied and not _is_told_apart(verdicts[mine], verdicts[other]):
                accused[mine] += [f"{part} = {name}" for part in sorted(copied)]
    for index, verdict in enumerate(verdicts):
        result = next(r for r in verdict["checks"] if r["check"] == "own")
        if index in accused:
            places = sorted(accused[index])
            why = tr(
                f"what no two runs have by themselves is another's: {places[0]}",
                f"两次训练不会自然相同之处与他人相同：{places[0]}",
            )
            result |= {"status": FAILED, "found": why, "places": places[:20]}
            result["remedy"] = tr("hand in your own work", "请提交自己的成果")
            award_points(verdict, rubric)
        elif result["status"] != FAILED:
            result["found"] = explained.get(index) or uploads.get(index) or result["found"]


def copied_parts(parts: set[str], mine: dict, other: dict) -> set[str]:
    """What of the alike parts of two submissions cannot be honest, by what is known of their inputs."""
    # Rows that are not packed differ in length: then each step's time follows from its rows, and equal rows repeat it.
    timed = "no" not in (mine.get("packed"), other.get("packed"))
    found = parts & (TIMES if timed else {"log"})
    different, bits = set(differ_in(mine, other)), parts & BITS
    if not found and different <= {"parameters", "base"}:
        # Equal rows and seed, and a weight decay of 0.01 instead of 0: likeness 0.9999 of losses and adapter, at tiny.
        bits = {part for part in bits if different and EQUAL + part in parts}
    elif not found and bits == {"losses"} and "rows" in different and VERY_LOSSES not in parts:
        # Rows that differ in one name alone have nearly the same losses on a base that knows the language.
        bits = set()
    return found | bits


def is_one_learner(a: dict, b: dict) -> bool:
    """Whether two submissions are uploads of one learner: by the manifests, else by the names of the files."""
    if a["who"] or b["who"]:
        return bool(a["who"] and b["who"]) and fold_text(a["who"]) == fold_text(b["who"])
    stems = [UPLOAD.sub("", ENDINGS.sub("", os.path.basename(v["submission"])).lower()) for v in (a, b)]
    return stems[0] == stems[1] != ""


def _is_told_apart(mine: dict, other: dict) -> bool:
    """Whether mine is seen to be no copy: the staff trained it again and got it, or the other one's adapter is not that of
    its own inputs, and mine is."""

    def betrayed(verdict: dict) -> bool:
        return any(r["check"] in TELLING and r["status"] == FAILED for r in verdict["checks"])

    proven = any(r["check"] == "retrained" and r["status"] == PASSED for r in mine["checks"])
    return proven or (betrayed(other) and not betrayed(mine))


def find_same_parts(verdicts: Sequence[dict]) -> Iterator[tuple[int, int, set[str]]]:
    """(i, j, parts) of all pairs i < j that share a part: adapter, log or answers byte for byte, or adapter, losses,
    times or answers by content (likeness.py). Takes the sketches out of the verdicts."""
    sketches = [verdict.pop("sketch", {}) for verdict in verdicts]
    pairs: dict[tuple[int, int], set[str]] = collections.defaultdict(set)
    for i, j, alike in find_alike(sketches):
        pairs[i, j] |= alike.keys()
        if "losses" in alike and alike["losses"].exact:
            pairs[i, j].add(VERY_LOSSES)
        pairs[i, j] |= {EQUAL + part for part in alike if alike[part].equal}
    groups: dict[tuple[str, str], list[int]] = collections.defaultdict(list)
    for index, verdict in enumerate(verdicts):
        for kind in ("adapter", "log", "answers"):
            if digest := verdict["fingerprints"].get(kind):
                groups[kind, digest].append(index)
    for (kind, _), group in groups.items():
        for i, j in itertools.combinations(group, 2):
            pairs[i, j].add(kind)
    yield from ((i, j, parts) for (i, j), parts in sorted(pairs.items()))
