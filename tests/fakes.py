"""Evidence made by hand, for checks that are asked at their borders."""

from __future__ import annotations

import functools
import io
from collections.abc import Mapping
from types import SimpleNamespace

import pytest

from lesson.config.parsed import FoldedDict, ParsedConfig
from lesson.config.summary import SUMMARY
from lesson.submission.archive.view import View
from lesson.submission.registry import Check, Failed, Skipped, Unjudged
from lesson.submission.staff import StaffInputs


def config_of(**values: object) -> ParsedConfig:
    """A config that says these entries of SUMMARY, and no other."""
    root: dict[str, object] = {}
    for name, value in values.items():
        *keys, last = SUMMARY[name].split(".")
        node = root
        for key in keys:
            node = node.setdefault(key, FoldedDict())
        node[last] = value
    return ParsedConfig("config.py", values=root)


def evidence_of(**given: object) -> SimpleNamespace:
    """Evidence with what is given, and nothing else in it."""
    empty = {"sound_record": None, "manifest": None, "parts": {}, "config": config_of(), "row_files": ["data.jsonl"]}
    return SimpleNamespace(**(empty | given))


def passes(check: Check, evidence: SimpleNamespace, staff: StaffInputs | None = None) -> str:
    return check.function(evidence, staff or StaffInputs())


def fails(
    check: Check, evidence: SimpleNamespace, match: str | None = None, staff: StaffInputs | None = None
) -> list[str]:
    """The places that the check names when it fails."""
    with pytest.raises(Failed, match=match) as raised:
        check.function(evidence, staff or StaffInputs())
    return raised.value.places


def skips(check: Check, evidence: SimpleNamespace, staff: StaffInputs | None = None) -> None:
    with pytest.raises(Skipped):
        check.function(evidence, staff or StaffInputs())


def view_of(files: Mapping[str, bytes]) -> View:
    """A view of files that lie in memory."""
    view = View()
    for name, data in files.items():
        view.add_file(name, len(data), functools.partial(io.BytesIO, data))
    return view


def unjudged(
    check: Check, evidence: SimpleNamespace, match: str | None = None, staff: StaffInputs | None = None
) -> str:
    """What the staff are told to do when the check cannot tell."""
    with pytest.raises(Unjudged, match=match) as raised:
        check.function(evidence, staff or StaffInputs())
    return raised.value.remedy
