"""The check for published runs at its borders."""

from __future__ import annotations

import hashlib
from types import SimpleNamespace

import pytest
from fakes import config_of, evidence_of, fails, passes, skips, view_of

from lesson.core.refusals import Broken
from lesson.submission.checks import copied
from lesson.submission.likeness import ALIKE, EXACT, Likeness
from lesson.submission.staff import StaffInputs

ROWS = b"rows"
DATA = hashlib.sha256(ROWS).hexdigest()


def run(**given) -> SimpleNamespace:
    return SimpleNamespace(
        **(
            {"name": "r1", "fingerprints": {}, "sketch": {}, "curve": {}, "data": None, "seed": 42, "new": "闻星"}
            | given
        )
    )


def evidence(fingerprints=None, parts=("adapter", "log", "answers"), seed: object = 42, **given):
    parts = {part: f"{part}.x" for part in parts}
    config = config_of(seed=seed) if seed is not None else config_of()
    view = view_of({"data.x": ROWS})
    return evidence_of(
        **(
            {"fingerprints": fingerprints or {}, "parts": parts, "config": config, "view": view, "new_name": "闻星"}
            | given
        )
    )


@pytest.fixture(autouse=True)
def likeness(monkeypatch):
    """What the sketches are compared to; the parts of the known sketch that were asked for."""
    found: dict[str, Likeness] = {}
    monkeypatch.setattr(copied, "sketch_submission", lambda evidence, parts: {"parts": sorted(parts)})
    monkeypatch.setattr(copied, "compare_sketches", lambda known, theirs: dict(found))

    def set_to(**measures: float) -> None:
        found.clear()
        found.update({part: Likeness(part, value, ALIKE[part]) for part, value in measures.items()})

    return set_to


def known(*runs: SimpleNamespace) -> StaffInputs:
    return StaffInputs(published=runs)


def test_what_equals_a_published_run_is_told_with_its_name():
    mine = evidence({"adapter": "1", "log": "2", "answers": "3"})
    assert passes(copied.own, mine, known(run())) == "compared with known work"
    assert passes(copied.own, mine) == "compared with known work"
    found = fails(
        copied.own,
        mine,
        "adapter = r1, answers = r2",
        known(run(fingerprints={"adapter": "1", "log": "x"}), run(name="r2", fingerprints={"answers": "3"})),
    )
    assert found == ["adapter = r1", "answers = r2"]
    for part in ("adapter", "log", "answers"):
        passes(copied.own, evidence(parts=[part]))
    skips(copied.own, evidence(parts=["config", "data", "curve"]))


def test_alike_losses_are_told_unless_other_rows_may_be_why(likeness):
    everything = ("adapter", "log", "answers", "data")
    for measure, data, told in (
        (ALIKE["losses"], None, True),
        (ALIKE["losses"] - 1e-6, None, False),
        (ALIKE["losses"], DATA, True),
        (ALIKE["losses"], "other rows", False),
        (EXACT, "other rows", True),
        (EXACT - 1e-6, "other rows", False),
    ):
        likeness(losses=measure)
        found = list(copied.same_parts(run(data=data), evidence(parts=everything)))
        assert found == (["loss"] if told else []), (measure, data)
    likeness(losses=ALIKE["losses"])
    assert list(copied.same_parts(run(data="other rows"), evidence(parts=["log"]))) == []
    likeness(adapter=1.0, times=1.0, answers=1.0)
    assert list(copied.same_parts(run(data="other rows"), evidence(parts=everything))) == ["adapter", "times"]


def test_the_curve_of_a_run_is_sketched_where_its_sketch_has_no_losses(monkeypatch):
    asked = []
    monkeypatch.setattr(copied, "sketch_submission", lambda evidence, parts: asked.append(set(parts)))
    monkeypatch.setattr(copied, "sketch_curve", lambda curve: {"losses": curve})
    list(copied.same_parts(run(sketch={"adapter": {}}, curve={1: 2.0}), evidence()))
    list(copied.same_parts(run(sketch={"losses": {}, "times": {}}), evidence()))
    assert asked == [{"adapter", "losses"}, {"losses", "times"}]


def test_an_honest_run_of_the_same_rows_seed_and_name_may_repeat_a_published_one(likeness):
    parts = ("adapter", "log", "answers", "data", "config")
    same = {"fingerprints": {"adapter": "1"}, "data": DATA}
    mine = evidence({"adapter": "1"}, parts)
    assert passes(copied.own, mine, known(run(**same))).startswith("equal to the published run r1, ")
    for other in ({"seed": 43}, {"new": "别的"}, {"data": "other"}, {"data": None}):
        fails(copied.own, mine, "adapter = r1", known(run(**(same | other))))
    for missing in ("data", "config"):
        fails(copied.own, evidence({"adapter": "1"}, [p for p in parts if p != missing]), None, known(run(**same)))
    # One run that it may have repeated excuses no other.
    mine = evidence({"adapter": "1", "answers": "3"}, parts)
    other = run(name="r2", fingerprints={"answers": "3"}, data=DATA, seed=1)
    assert fails(copied.own, mine, "answers = r2$", known(run(**same), other)) == ["answers = r2"]
    # Times and logs never repeat.
    likeness(times=1.0)
    fails(copied.own, mine, "times = r1", known(run(**same)))
    likeness()
    fails(copied.own, evidence({"log": "2"}, parts), "log = r1", known(run(fingerprints={"log": "2"}, data=DATA)))


def test_a_config_that_cannot_be_read_excuses_nothing():
    class Damaged(SimpleNamespace):
        @property
        def config(self):
            raise Broken("config.py: damaged")

    given = vars(evidence({"adapter": "1"}, ("adapter", "data", "config")))
    del given["config"]
    fails(copied.own, Damaged(**given), "adapter = r1", known(run(fingerprints={"adapter": "1"}, data=DATA)))
