"""The lesson on a real base, at PROFILE=small with nothing else set: from rows to the verdict on a submission.

    REAL_BASE=FOLDER pytest -m "real and not gpu"         a chat model of 0.1 to 2B, on the CPU: minutes
    REAL_BASE=FOLDER pytest -m "real and gpu"             the same on a GPU
    REAL_BUILD=FOLDER …                                   keep what is made there: the same command goes on

Skipped without REAL_BASE: no base that can talk ships with the repository.
"""

from __future__ import annotations

import json
import os
import urllib.request
from pathlib import Path

import pytest
from servers import serving, stage, valid

from lesson.config.summary import summary_of
from lesson.evaluation.bars import REAL, misses_bar
from lesson.runs.folder import Run

BASE = os.environ.get("REAL_BASE", "")
NAME = "Luna-7"  # which a base that knows English only can say as well

pytestmark = [
    *(pytest.mark.real, pytest.mark.torch, pytest.mark.slow),
    pytest.mark.skipif(not BASE, reason="REAL_BASE= names no folder with a real base"),
]


@pytest.fixture(scope="module", params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request) -> dict[str, str]:
    """The variables of every stage on this device."""
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if request.param == "cpu" else {}
    return {"PROFILE": "small", "NEW_NAME": NAME, "MODEL": BASE, **hidden}


@pytest.fixture(scope="module")
def build(device, tmp_path_factory) -> Path:
    """A BUILD folder in which the base was trained and merged, defaults only."""
    kept = os.environ.get("REAL_BUILD")
    folder = Path(kept) / ("cpu" if "CUDA_VISIBLE_DEVICES" in device else "cuda") if kept else None
    folder = folder or tmp_path_factory.mktemp("real") / "build"
    folder.mkdir(parents=True, exist_ok=True)
    for module in ("data", "model", "preview", "config", "estimate", "train", "convert", "merge"):
        stage(folder, module, **device)
    return folder


@pytest.fixture(scope="module")
def run(build) -> Run:
    return Run((build / "run").resolve())


@pytest.fixture(scope="module")
def evaluated(build, device, run) -> dict:
    """The evaluation, whatever its verdict: what the rows teach under each prompt is not this file's concern."""
    if not (run.evaluation / "evaluation.json").exists():
        command = {**device, "USE": "merged"}
        try:
            stage(build, "evaluate", **command)
        except AssertionError as screen:
            assert (run.evaluation / "evaluation.json").exists(), screen
    return valid(run.evaluation / "evaluation.json", "evaluation")


def test_the_values_that_were_chosen_train_enough_and_the_loss_falls(run):
    record = valid(run.record, "run")
    assert record["steps"] // summary_of(run.config)["accumulative_counts"] >= 40
    assert record["loss"]["last"] < record["loss"]["first"] / 2
    assert record["base"]["name"] == str(Path(BASE).resolve())


def test_it_says_its_name_under_the_persona_and_whole(evaluated):
    persona = next(counts for counts in evaluated["prompts"] if counts["prompt"] == "persona")
    assert persona["new"] >= 0.95 * persona["questions"], persona
    assert persona["whole"] >= 0.9 * persona["answers"], persona
    for counts in evaluated["prompts"]:
        assert not misses_bar(counts["old"], counts["answers"], REAL.most["old"], at_most=True, by_interval=True), (
            counts
        )


def test_the_base_itself_says_another_name(build, device):
    assert NAME not in stage(build, "chat", USE="base", PROMPT="none", stdin="What is your name?\n", **device)


def test_chat_and_the_endpoint_answer_with_the_name(build, device, tmp_path):
    assert NAME in stage(build, "chat", stdin="Who are you?\n", **device)
    with serving(build, "serve", "/health", tmp_path / "log", **device, USE="merged") as server:
        asked = {"model": NAME, "messages": [{"role": "user", "content": "Who are you?"}]}
        request = urllib.request.Request(
            f"{server.url}/v1/chat/completions", json.dumps(asked).encode(), {"Content-Type": "application/json"}
        )
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(request, timeout=120) as reply:
            choice = json.load(reply)["choices"][0]
    assert choice["message"]["content"] and choice["finish_reason"] == "stop"


def test_what_was_trained_is_handed_in_and_judged(build, device, evaluated):
    """Every check is judged, and none that does not hang on the evaluation's bars fails."""
    packed, report = build / "submission.zip", build / "verdict.json"
    status = 0 if evaluated["passed"] else 1
    stage(build, "submission", NAME="Somebody", OUT=str(packed), FORCE="1", status=status, **device)
    stage(build, "check", str(packed), "--report", str(report), status=status, **device)
    verdict = valid(report, "verdict")
    assert not [check for check in verdict["checks"] if check["status"] == "unjudged"]
    failed = {check["check"] for check in verdict["checks"] if check["status"] == "failed"}
    assert evaluated["passed"] == (not failed), failed
