"""The examples for PrairieLearn and Gradescope work from an empty folder, in the layout that each documents."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import mutations
import plain_folders
import pytest
import submissions

from lesson.core.settings import ROOT

EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="module")
def venv(tmp_path_factory) -> Path:
    """A folder that looks like the small venv of `setup-check`, up to date, and runs this Python."""
    folder = tmp_path_factory.mktemp("venv")
    lock = hashlib.sha256((ROOT / "requirements-check.lock").read_bytes()).hexdigest()
    (folder / "requirements-check.lock.sha256").write_text(lock + "\n")
    (folder / "bin").mkdir()
    (folder / "bin" / "python").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    (folder / "bin" / "python").chmod(0o755)
    return folder


def run(script: Path, cwd: Path, **variables: str | Path) -> subprocess.CompletedProcess:
    environment = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
    environment |= {"LANG": "C.UTF-8"} | {key: str(value) for key, value in variables.items()}
    return subprocess.run([script], cwd=cwd, env=environment, capture_output=True, text=True, timeout=120)


# --- PrairieLearn ---------------------------------------------------------------------------------------------------------


def grade(root: Path, venv: Path) -> dict:
    done = run(EXAMPLES / "prairielearn" / "run.sh", root, GRADE_ROOT=root, CHECK_VENV=venv)
    assert done.returncode == 0, done.stderr
    data = (root / "grade" / "results" / "results.json").read_bytes()
    assert len(data) < 1 << 20
    return json.loads(data)


def layout(root: Path) -> Path:
    """What PrairieLearn puts into the container; /grade/results it does not make."""
    student = root / "grade" / "student"
    student.mkdir(parents=True)
    (root / "grade" / "data").mkdir()
    (root / "grade" / "data" / "data.json").write_text('{"submitted_answers": {"_files": []}}')
    return student


def test_prairielearns_grader_gives_the_share_of_the_points(tmp_path, venv):
    submissions.pack(submissions.honest_files(), layout(tmp_path) / "submission.zip")
    found = grade(tmp_path, venv)
    assert found["gradable"] is True and found["score"] == 1.0 and "80%" in found["message"]
    for test in found["tests"]:
        assert {"name", "points", "max_points", "message", "output"} == test.keys()
        assert isinstance(test["points"], int | float) and 0 <= test["points"] <= test["max_points"]
    assert sum(test["max_points"] for test in found["tests"]) > 100


@pytest.mark.parametrize("name", ["b_zeroed", "garbage", "nothing"])
def test_prairielearns_score_of_what_does_not_pass_is_below_the_threshold(tmp_path, venv, name):
    student = layout(tmp_path)
    if name == "garbage":
        (student / "submission.zip").write_bytes(b"PK\x03\x04 no zip at all")
    elif name != "nothing":
        submissions.pack(mutations.mutate(name), student / "submission.zip")
    found = grade(tmp_path, venv)
    assert found["gradable"] is True and 0 <= found["score"] < 0.8 and "what decided it" in found["message"]


def test_prairielearn_is_told_when_the_grader_itself_fails(tmp_path, venv):
    layout(tmp_path)
    found = grade(tmp_path, tmp_path / "no-venv")
    assert found["gradable"] is False and found["format_errors"]


def test_prairielearns_question_names_what_the_image_has():
    image = (EXAMPLES / "prairielearn" / "Dockerfile").read_text()
    top = re.search(r"^COPY \. (\S+)$", image, re.MULTILINE)[1]
    question = json.loads((EXAMPLES / "prairielearn" / "question" / "info.json").read_text())
    options = question["externalGradingOptions"]
    assert question["gradingMethod"] == "External" and options["enabled"] is True and options["timeout"] <= 600
    entry = ROOT / Path(options["entrypoint"]).relative_to(top)
    assert os.access(entry, os.X_OK) and f'["{options["entrypoint"]}"]' in image
    assert (
        "-m recipe.setup check" in image
        and "requirements-check.lock" not in (EXAMPLES / "prairielearn" / "Dockerfile.dockerignore").read_text()
    )


# --- Gradescope -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def autograder(tmp_path_factory, venv) -> Path:
    """The root of Gradescope's image: autograder.zip, packed in an empty folder, unpacked and set up."""
    empty = tmp_path_factory.mktemp("empty")
    done = run(EXAMPLES / "gradescope" / "pack.sh", empty)
    assert done.returncode == 0 and [path.name for path in empty.iterdir()] == ["autograder.zip"], done.stderr
    root = tmp_path_factory.mktemp("root")
    source = root / "autograder" / "source"
    with zipfile.ZipFile(empty / "autograder.zip") as archive:
        archive.extractall(source)
    assert {path.name for path in source.iterdir()} == {"setup.sh", "run_autograder", "lesson"}
    assert not (source / "lesson" / ".git").exists() and not list((source / "lesson").glob(".venv*"))
    # As Gradescope does it: a zip may have lost the bits.
    for name in ("setup.sh", "run_autograder"):
        (source / name).chmod(0o755)
    (root / "autograder" / "run_autograder").write_bytes((source / "run_autograder").read_bytes())
    (root / "autograder" / "run_autograder").chmod(0o755)
    done = run(source / "setup.sh", root, AUTOGRADER_ROOT=root, CHECK_VENV=venv)
    assert done.returncode == 0, done.stderr
    return root


def grade_submission(root: Path, venv: Path, files: submissions.Files) -> dict:
    submission = root / "autograder" / "submission"
    subprocess.run(["rm", "-rf", str(submission), str(root / "autograder" / "results")], check=True)
    plain_folders.write(files, submission)
    submission.mkdir(exist_ok=True)
    (root / "autograder" / "submission_metadata.json").write_text("{}")
    done = run(root / "autograder" / "run_autograder", root, AUTOGRADER_ROOT=root, CHECK_VENV=venv)
    assert done.returncode == 0, done.stderr
    return json.loads((root / "autograder" / "results" / "results.json").read_bytes())


@pytest.mark.slow
def test_gradescopes_autograder_judges_what_was_unpacked_and_a_single_archive(tmp_path, autograder, venv):
    files = submissions.honest_files()
    files["submission.json"] = submissions.to_json(submissions.make_manifest(files))
    found = grade_submission(autograder, venv, {f"submission/{name}": data for name, data in files.items()})
    assert found["score"] > 100 and "80%" in found["output"] and found["output_format"] == "text"
    assert sum(test.get("score", 0) for test in found["tests"]) == found["score"]
    assert {test["status"] for test in found["tests"] if "status" in test} == {"passed"}
    archive = submissions.pack(submissions.honest_files(), tmp_path / "s.tar.gz").read_bytes()
    assert grade_submission(autograder, venv, {"s.tar.gz": archive})["score"] == found["score"]
    bad = grade_submission(autograder, venv, mutations.mutate("b_zeroed"))
    assert "what decided it" in bad["output"] and bad["score"] < found["score"]
    assert any(test.get("status") == "failed" for test in bad["tests"])


@pytest.mark.slow
def test_gradescope_is_told_when_the_autograder_itself_fails(autograder, tmp_path):
    assert grade_submission(autograder, tmp_path / "no-venv", {})["score"] == 0
