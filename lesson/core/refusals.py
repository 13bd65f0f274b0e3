"""Why a file of a stranger is not read any further; whoever reads it catches these two."""

from __future__ import annotations


class Unreadable(Exception):
    """The submission cannot be opened; the message says why."""


class Broken(Exception):
    """A document that cannot be read; the message says where and why."""
