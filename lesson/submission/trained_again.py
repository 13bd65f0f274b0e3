"""What a training by the staff gave, for the checks that hold a submission against it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Retrained:
    """What a training by the staff gave: losses of its first steps, and the adapter where it went to its end."""

    losses: dict[int, float]  # step → nats per token
    total: int  # steps of the whole training
    machine: dict  # as in the run record
    versions: dict[str, str]
    base: str | None  # the hash of the base, as in the run record
    seconds: float
    adapter: Path | None = None
