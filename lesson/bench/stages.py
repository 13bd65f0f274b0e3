"""Stages and targets of make as processes of their own: how every bench starts them."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Mapping, Sequence

from lesson.core.processes import FinishedProcess, run_process
from lesson.core.settings import ROOT


def run_stage(
    module: str, variables: Mapping[str, str], arguments: Sequence[str] = (), may_fail: bool = False, **options: object
) -> FinishedProcess:
    """Run `python -m recipe.MODULE` as make does, `variables` beside those of this process; `options` as run_process.

    Raises UserError with the end of its output when it fails, unless it may.
    """
    command = [sys.executable, "-m", f"recipe.{module}", *arguments]
    done = run_process(command, {**os.environ, **variables}, folder=ROOT, **options)
    return done if may_fail else done.require_success(f"recipe.{module}")


def run_target(target: str, variables: Mapping[str, str], without: Collection[str] = ()) -> FinishedProcess:
    """Run `make TARGET`, whatever its exit status, `variables` beside those of this process but those named in
    `without`."""
    inherited = {name: value for name, value in os.environ.items() if name not in without}
    return run_process(["make", "-s", target], {**inherited, **variables}, folder=ROOT)
