"""How a trainer's process ends, as its parent reads it."""

from __future__ import annotations

DIVERGED = 3  # exit status: the loss was not a finite number, or exploded
