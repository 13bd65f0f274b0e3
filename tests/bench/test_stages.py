"""A stage and a target as processes: as make runs them, with the variables given."""

from __future__ import annotations

import pytest

from lesson.bench.names import OF_BENCH
from lesson.bench.stages import run_stage, run_target
from lesson.core.messages import UserError


def test_a_stage_runs_from_anywhere_with_its_variables(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    log = tmp_path / "console.log"
    assert run_stage("help", {"LANG": "zh_CN.UTF-8"}, log=log).screen.startswith("make setup；")
    assert log.read_text(encoding="utf-8").startswith("make setup；")


def test_a_stage_that_fails_is_named_with_what_it_said():
    with pytest.raises(UserError, match=r"^recipe\.data: exit status 2; read the lines above$") as error:
        run_stage("data", {"SRC": "/no/such.jsonl", "LANG": "C.UTF-8"})
    assert error.value.details.startswith("error: /no/such.jsonl: no such file")


def test_a_target_gives_back_its_exit_status():
    assert run_target("no-such-target", {}).status == 2


def test_a_target_does_not_inherit_what_it_is_run_without(monkeypatch, tmp_path):
    """make bench-names SEED=3 draws names by it; the trainings inside are not to see it, nor as a flag of make."""
    monkeypatch.setenv("SEED", "none of its values")
    monkeypatch.setenv("MAKEFLAGS", " -- SEED=none")
    variables = {"NEW_NAME": "闻星", "BUILD": str(tmp_path), "ROWS": "9"}
    assert run_target("synth", variables).status == 2
    assert run_target("synth", variables, OF_BENCH).status == 0
