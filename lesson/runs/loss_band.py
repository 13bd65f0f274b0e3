"""Are two loss curves the same? Identical, within the band for other machines, or outside."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

# The band: no loss may differ by more than LARGEST nats per token (a number for each profile), and all of them together
# by no more than the share MEAN of the mean loss (a share, because a short run, which ends where the curve is steep,
# differs by more nats). Measured by `make bench-loss`, tiny (161 steps, loss 4 to 0.1), two cores of an Intel Xeon
# with AVX-512, against one run of it:
#                                                             largest    share of the mean
#   AVX2 kernels in place of AVX-512                          4.8e-7     4.9e-7
#   one OpenMP thread in place of two                         9.5e-7     6.2e-8
#   DeepSpeed ZeRO-2 in place of plain                        0.038      0.0081
#   two processes in place of one                             0.103      0.0085
#   … the same with ZeRO-2                                    0.100      0.0133
#   seed 43, and seed 44: these must be outside               0.90 1.27  0.136 0.149
#   … their first 21 steps                                    0.90 1.27  0.107 0.137
# So another way to do the same work stays below both limits by a factor of at least 2.2, and another seed is above both
# by a factor of at least 3.5. Two processes differ from one because a step's loss is the mean over processes of the mean
# over their own trained tokens, and where packs do not divide evenly mmengine's sampler repeats one in an epoch's last step,
# which has the largest difference. With equal packs, evenly divided, it is 9.5e-7 (tests/whole/test_ranks.py). Packs of 256
# tokens, which have 25 to 105 trained ones, can be outside.
#
# At 7b single steps differ more, for in 22 steps the loss falls from 12.4 to 6.4. Measured by `make bench-gpu` on H100s,
# against stock with ZeRO-2, which gave the same bits on two machines:
#   without DeepSpeed                                         0.26       0.009
#   fast; fast on an NF4 base                                 0.31 0.22  0.015 0.012
#   fast, over the 44 steps that today's rows make            0.13       0.006
#   TRL and LLaMA-Factory, which shuffle otherwise: outside   1.8 2.3    0.12 0.13
LARGEST = {"tiny": 0.25, "7b": 0.75}
MEAN = 0.03

IDENTICAL, WITHIN, OUTSIDE = "identical", "within", "outside"
Points = Sequence[tuple[int, float | None]]  # (step, loss); None where the loss was no finite number


@dataclass(frozen=True)
class Comparison:
    """What two curves have in common. Differences are absolute, in nats per token, over the steps of both."""

    verdict: str  # IDENTICAL, WITHIN or OUTSIDE
    steps: int  # in both
    missing: int  # in one only
    first: int | None  # the first step whose losses differ
    largest: float
    largest_at: int | None
    mean: float
    share: float  # the mean difference over the mean loss of both curves


def compare_curves(a: Points, b: Points, largest: float = LARGEST["tiny"], mean: float = MEAN) -> Comparison:
    """Identical: same steps, every loss equal in every bit. Within: same steps, no loss differs by more than `largest`,
    and the mean difference is at most the share `mean` of the mean loss of both. Everything else, so also a curve that
    ends earlier, is outside."""
    left, right = dict(a), dict(b)
    common = sorted(left.keys() & right.keys())
    differences = [_difference(left[step], right[step]) for step in common]
    missing = len(left.keys() ^ right.keys())
    most = max(differences, default=0.0)
    average = math.fsum(differences) / len(differences) if differences else 0.0
    losses = [abs(curve[step] or 0.0) for step in common for curve in (left, right)]
    level = math.fsum(losses) / len(losses) if losses else 0.0
    share = 0.0 if average == 0 else average / level if level else math.inf
    verdict = OUTSIDE
    if common and not missing:
        verdict = IDENTICAL if most == 0 else WITHIN if most <= largest and share <= mean else OUTSIDE
    return Comparison(
        verdict,
        len(common),
        missing,
        next((step for step, d in zip(common, differences, strict=True) if d), None),
        most,
        common[differences.index(most)] if most else None,
        average,
        share,
    )


def largest_allowed(record: dict) -> float:
    """The band's largest difference for the profile in a run's record, in nats per token.

    A bare curve.jsonl comes with an empty record, and is held to tiny's.
    """
    return LARGEST.get(str(record.get("profile")), LARGEST["tiny"])


def _difference(a: float | None, b: float | None) -> float:
    if a is None or b is None:
        return 0.0 if a is b else math.inf
    return abs(a - b)
