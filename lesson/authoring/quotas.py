"""Shares made into whole numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

Key = TypeVar("Key")


def share_out(weights: Mapping[Key, float], total: int) -> dict[Key, int]:
    """`total` things shared out in proportion to the weights, by largest remainders: a heavier key never gets fewer."""
    whole = sum(weights.values())
    exact = {key: total * weight / whole for key, weight in weights.items()}
    counts = {key: int(share) for key, share in exact.items()}
    for key in sorted(exact, key=lambda key: counts[key] - exact[key])[: total - sum(counts.values())]:
        counts[key] += 1
    return counts
