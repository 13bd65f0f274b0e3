"""Intervals of shares: what a count out of a few hundred answers says about the share behind it."""

from __future__ import annotations

import math

Z95 = 1.959964  # the normal distribution's quantile of 97.5%


def wilson_interval(count: int, of: int) -> tuple[float, float]:
    """The 95% score interval of the share count / of; (0, 1) where nothing was asked.

    Its ends are the shares p at which (count / of - p)² = z² p (1 - p) / of: E. B. Wilson, Probable Inference, the Law of
    Succession, and Statistical Inference, Journal of the American Statistical Association 22 (1927), 209-212.
    """
    if not of:
        return 0.0, 1.0
    share, z2 = count / of, Z95 * Z95
    middle = share + z2 / (2 * of)
    half = Z95 * math.sqrt(share * (1 - share) / of + z2 / (4 * of * of))
    low, high = (middle - half) / (1 + z2 / of), (middle + half) / (1 + z2 / of)
    return (0.0 if count == 0 else max(0.0, low)), (1.0 if count == of else min(1.0, high))


def paired_interval(lost: int, gained: int, of: int) -> tuple[float, float]:
    """The 95% interval of (gained - lost) / of, where the same `of` questions were asked twice.

    Only the answers that changed count, as in McNemar's test; half a question is added to each of the four cells: A.
    Agresti and Y. Min, Simple improved confidence intervals for comparing matched proportions, Statistics in Medicine 24
    (2005), 729-740.
    """
    if not of:
        return -1.0, 1.0
    n, down, up = of + 2, lost + 0.5, gained + 0.5
    difference = (up - down) / n
    half = Z95 * math.sqrt(max(0.0, (up + down) - (up - down) ** 2 / n)) / n
    return max(-1.0, difference - half), min(1.0, difference + half)
