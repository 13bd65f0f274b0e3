"""make compare-loss: two curves by any of their names, the verdict as exit status, and a picture."""

from __future__ import annotations

import json

import pytest

from recipe import loss


@pytest.fixture
def compared(call, build_of_curves):
    return lambda *more: call(loss, "--profile", "tiny", "--build", str(build_of_curves), *more)


def test_the_same_run_by_id_by_its_beginning_by_folder_and_by_file_is_identical_with_a_picture(
    compared, build_of_curves
):
    run = build_of_curves / "runs" / "0123456789ab"
    for name in ("0123456789ab", "01", str(run), str(run / "run.json")):
        status, out, _ = compared("--a", name, "--b", "0123456789ab")
        assert status == 0 and "\nidentical\n" in out
    assert (build_of_curves / "compare-loss.png").read_bytes().startswith(b"\x89PNG")


def test_an_unfinished_run_is_outside_and_the_missing_steps_are_counted(compared):
    status, out, _ = compared("--a", "01", "--b", "02")
    assert status == 1
    assert "1 steps in both, 2 in one only" in out and "outside the band" in out
    status, out, _ = compared("--a", "01", "--b", "02", "--format", "json")
    assert (status, json.loads(out)["missing"]) == (1, 2)
