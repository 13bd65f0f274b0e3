"""Published curves cannot be handed in as one's own; who repeats a published run with its rows, seed and name is no copyist."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import submissions
from verdicts import verdict_on, wrong_checks

from lesson.core.settings import ROOT, Values
from lesson.submission.likeness import FEWEST
from lesson.submission.published import read_published
from lesson.submission.staff import StaffInputs, read_staff_inputs
from recipe import check, published

README = ROOT / "golden" / "published" / "readme-tiny.json"


def staff_who_know(folder: Path, **told: object) -> StaffInputs:
    """What staff know whose folder holds one published run: the fixture's losses, and what else is told."""
    losses = [
        point["loss"]
        for point in submissions.from_json_lines(submissions.honest_files()[submissions.CURVE])
        if "step" in point
    ]
    folder.mkdir(exist_ok=True)
    (folder / "golden.json").write_text(json.dumps({"losses": losses} | told))
    return read_staff_inputs(Values({"PUBLISHED": str(folder)}, {}))


def own_result(verdict: dict) -> str:
    return next(result["found"] for result in verdict["checks"] if result["check"] == "own")


def test_a_published_curve_is_told_in_a_submission_and_in_a_bare_log(tmp_path):
    files = submissions.honest_files()
    staff = staff_who_know(tmp_path / "published")
    assert wrong_checks(verdict_on(submissions.pack(files, tmp_path / "s"), staff)) == {"own"}
    parts = {
        submissions.CONFIG,
        submissions.DATA,
        submissions.LOG,
        submissions.ADAPTER,
        submissions.ADAPTER_CONFIG,
        submissions.ANSWERS,
    }
    for name in parts:
        path = tmp_path / "plain" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(files[name])
    verdict = verdict_on(tmp_path / "plain", staff)
    assert wrong_checks(verdict) == {"own"} and "loss = golden" in own_result(verdict)
    # Half of the curve is enough, shifted or with noise; a tenth of it is not: the first steps of like runs may be alike.
    curve = [c for c in submissions.from_json_lines(files[submissions.CURVE]) if "step" in c]
    own = {"curve": [{"step": c["step"], "loss": c["loss"] + (c["step"] > 90) * c["step"] % 7} for c in curve]}
    assert wrong_checks(verdict_on(tmp_path / "s", staff_who_know(tmp_path / "half", **own))) == {"own"}
    noisy = {"curve": [{"step": c["step"], "loss": c["loss"] + 0.2 + 1e-3 * (c["step"] % 3)} for c in curve]}
    assert wrong_checks(verdict_on(tmp_path / "s", staff_who_know(tmp_path / "noise", **noisy))) == {"own"}
    own["curve"] = [{"step": c["step"], "loss": c["loss"] + (c["step"] > 16) * c["step"] % 7} for c in curve]
    assert not wrong_checks(verdict_on(tmp_path / "s", staff_who_know(tmp_path / "tenth", **own)))


def test_the_same_rows_seed_and_name_may_give_the_same_losses_but_never_the_same_log(tmp_path):
    files = submissions.honest_files()
    path = submissions.pack(files, tmp_path / "s.zip")
    same = {
        "inputs": {"data": hashlib.sha256(files[submissions.DATA]).hexdigest()},
        "seed": 42,
        "names": {"new": "机智流"},
    }
    verdict = verdict_on(path, staff_who_know(tmp_path / "a", **same))
    assert verdict["passed"] is True and "cannot be told apart" in own_result(verdict)
    for number, other in enumerate(({"seed": 7}, {"names": {"new": "闻星"}}, {"inputs": {"data": "0" * 64}})):
        assert wrong_checks(verdict_on(path, staff_who_know(tmp_path / str(number), **same | other))) == {"own"}
    log = {"fingerprints": {"log": hashlib.sha256(files[submissions.LOG]).hexdigest()}}
    assert wrong_checks(verdict_on(path, staff_who_know(tmp_path / "b", **same | log))) == {"own"}


def test_the_run_that_the_readme_shows_cannot_be_handed_in_and_an_honest_one_passes_beside_it(tmp_path):
    staff = read_staff_inputs(Values({}, {}))
    assert "readme-tiny" in {run.name for run in staff.published}
    files = submissions.honest_files()
    assert not wrong_checks(verdict_on(submissions.pack(files, tmp_path / "honest"), staff))
    curve = {point["step"]: point["loss"] for point in json.loads(README.read_text())["curve"]}
    lines = [c | {"loss": curve.get(c.get("step"), 9.0)} for c in submissions.from_json_lines(files[submissions.CURVE])]
    verdict = verdict_on(
        submissions.pack(files | {submissions.CURVE: submissions.to_json_lines(lines)}, tmp_path / "s"), staff
    )
    assert "own" in wrong_checks(verdict) and "loss = readme-tiny" in own_result(verdict)


def test_a_submission_becomes_a_published_run_and_a_file_that_is_none_is_refused(tmp_path, call):
    path = submissions.pack(submissions.honest_files(), tmp_path / "last-year.zip")
    assert call(published, str(path), "--out", str(tmp_path / "out"))[0] == 0
    status, out, _ = call(check, str(path), "--published", str(tmp_path / "out"))
    assert status == 1 and "log = last-year" in out and "adapter = last-year" in out
    (tmp_path / "out" / "x.json").write_text('{"curve": 5}')
    status, _, err = call(check, str(path), "--published", str(tmp_path / "out"))
    assert status == 2 and "x.json: holds no loss curve" in err
    assert call(check, str(path), "--published", str(tmp_path / "none"))[0] == 2
    (tmp_path / "bad.zip").write_bytes(b"no")
    assert call(published, str(tmp_path / "bad.zip"), "--out", str(tmp_path / "out"))[0] == 2


@pytest.mark.parametrize("path", sorted((ROOT / "golden").glob("*/*.json")), ids=lambda p: p.name)
def test_every_published_file_of_the_repository_is_read_with_what_tells_copies_from_repeats(path):
    if path.parent.name in ("loss", "published"):
        run = read_published(path)
        assert len(run.curve) > FEWEST and run.data and run.new and run.seed is not None
