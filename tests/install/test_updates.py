"""make updates asks the index for what the requirements name, and says what is newer; the weekly workflow does it as well."""

from __future__ import annotations

import hashlib
import http.server
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml

from lesson.core.settings import ROOT
from lesson.install import updates
from lesson.install.updates import Locked, ask_pip, find_updates, lines_of, read_locked

WEEKLY = yaml.safe_load((ROOT / "examples" / "github-scheduled.yml").read_text(encoding="utf-8"))


@pytest.fixture
def index(monkeypatch):
    """A package index of our own: each project has 1.0 and 9999.0, `gone` is none; pip asks nobody else."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_) -> None:
            pass

        def do_GET(self) -> None:
            name = self.path.strip("/").split("/")[-1]
            files = (f"{name.replace('-', '_')}-{version}-py3-none-any.whl" for version in ("1.0", "9999.0"))
            page = "".join(f'<a href="{file}">{file}</a>' for file in files).encode()
            self.send_response(404 if name == "gone" else 200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    for name in [name for name in os.environ if name.startswith("PIP_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple")
    yield
    server.shutdown()
    server.server_close()


def test_what_the_requirements_name_is_read_with_its_locked_version(tmp_path):
    (tmp_path / "requirements.in").write_text("# words\nTorch==2.1  # why\nno_lock\nset.uptools<81\n")
    (tmp_path / "requirements.lock").write_text(
        "set-uptools==80.1 \\\n    --hash=sha256:00\ntorch==2.1 ; x == 'y' \\\n    --h\n"
    )
    (tmp_path / "requirements-more.in").write_text("torch\nother>=5\n")
    (tmp_path / "requirements-more.lock").write_text("torch==2.1\nother==6.0 ; x\n")
    assert read_locked(tmp_path) == [
        Locked("torch", "2.1", "", "requirements-more.in"),
        Locked("other", "6.0", ">=5", "requirements-more.in"),
        Locked("set-uptools", "80.1", "<81", "requirements.in"),
    ]


def test_ours_are_all_locked():
    named = {locked.name for locked in read_locked()}
    assert {"torch", "xtuner", "transformers", "gradio", "cosmic-ray", "jsonschema"} <= named and len(named) > 30


def test_only_newer_ones_are_told_and_what_stops_them():
    packages = [Locked("a", "1.0", "==1.0", "r.in"), Locked("b", "1.9", "", "r.in"), Locked("c", "2.0", "<3", "r.in")]
    packages += [Locked("d", "1.0", "", "r.in"), Locked("a", "0.9", "", "s.in")]
    said = {"a": ("1.10", ""), "b": ("1.10", ""), "c": ("2.0+cpu", ""), "d": ("", "gone away")}
    asked: list[str] = []

    def ask(name: str) -> tuple[str, str]:
        asked.append(name)
        return said[name]

    lines = lines_of(find_updates(packages, ask))
    assert sorted(asked) == ["a", "b", "c", "d"]
    assert lines[0] == "a 1.0 → 1.10 (r.in: ==1.0)" and lines[1] == "b 1.9 → 1.10" and "d 1.0: gone away" in lines
    assert lines[-1].startswith("4 of 5 packages have a newer version")


@pytest.mark.slow
def test_pip_is_asked_and_its_words_are_told_where_it_has_no_answer(index):
    assert ask_pip("some-package") == ("9999.0", "")
    newest, problem = ask_pip("gone")
    assert not newest and "gone" in problem


def test_a_pip_that_does_not_answer_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(updates, "PATIENCE", 0.01)
    assert ask_pip("some-package") == ("", "no answer in 0 s")


# --- the weekly workflow ----------------------------------------------------------------------------------------------------


def weekly_commands() -> dict[str, str]:
    return {step["name"]: step["run"] for step in WEEKLY["jobs"]["lesson"]["steps"] if "run" in step}


def bash(command: str, folder: Path = ROOT, **variables: str) -> subprocess.CompletedProcess:
    assert WEEKLY["defaults"]["run"]["shell"] == "bash"  # which GitHub runs with these options
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("GITHUB_", "MAKE", "MFLAGS"))}
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", command],
        cwd=folder,
        env=environment | {"LANG": "C.UTF-8"} | variables,
        capture_output=True,
        text=True,
    )


@pytest.fixture
def venv(tmp_path) -> Path:
    """A venv that is up to date, whose Python notes how it is called, and runs what is named in RUN."""
    lock = hashlib.sha256((ROOT / "requirements.lock").read_bytes()).hexdigest()
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / "requirements.lock.sha256").write_text(lock + "\n")
    python = tmp_path / "venv" / "bin" / "python"
    real, noted = shlex.quote(sys.executable), shlex.quote(str(tmp_path / "called"))
    python.write_text(
        f'#!/bin/sh\necho "$* NEW_NAME=$NEW_NAME PROFILE=$PROFILE" >> {noted}\n'
        f'if [ "$2" = "$RUN" ]; then exec {real} "$@"; fi\necho "did $2"\n'
        'if [ "$2" = "$FAIL" ]; then exit 1; fi\n'
    )
    python.chmod(0o755)
    return tmp_path / "venv"


def test_the_weekly_workflow_sets_up_and_does_the_whole_lesson_at_tiny(venv, tmp_path):
    commands = weekly_commands()
    assert list(commands) == ["setup", "lesson", "updates"]
    variables = {"VENV": str(venv), "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"), "PYTHON": sys.executable}
    done = bash(commands["setup"], **variables)
    assert done.returncode == 0 and "up to date" in done.stdout, done.stderr
    done = bash(commands["lesson"], **variables)
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "called").read_text(encoding="utf-8").splitlines()
    stages = [re.match(r"-m recipe\.(\w+)", line)[1] for line in lines]
    assert stages == ["data", "model", "config", "train", "convert", "merge", "evaluate"]
    assert all(line.endswith("NEW_NAME=闻星 PROFILE=tiny") for line in lines)
    assert "did recipe.evaluate" in (tmp_path / "summary").read_text(encoding="utf-8")
    done = bash(commands["lesson"], FAIL="recipe.train", **variables)
    assert done.returncode != 0, "a stage that fails fails the step, also behind a pipe"


@pytest.mark.slow
def test_the_weekly_workflow_s_question_is_answered(venv, tmp_path, index):
    """In a copy that names two packages: each is a process of pip."""
    for name in ("recipe", "lesson/core", "lesson/install"):
        shutil.copytree(ROOT / name, tmp_path / "copy" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Makefile", "lesson/__init__.py"):
        shutil.copy(ROOT / name, tmp_path / "copy" / name)
    (tmp_path / "copy" / "requirements.in").write_text("torch==2.14.1\ntqdm\n")
    (tmp_path / "copy" / "requirements.lock").write_text("torch==2.14.1 ; x\ntqdm==4.70.1\n")
    variables = {"VENV": str(venv), "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"), "RUN": "recipe.updates"}
    done = bash(weekly_commands()["updates"], tmp_path / "copy", **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "summary").read_text(encoding="utf-8").splitlines() == [
        "torch 2.14.1 → 9999.0 (requirements.in: ==2.14.1)",
        "tqdm 4.70.1 → 9999.0",
        "2 of 2 packages have a newer version; make lock takes those that the files allow",
    ]


def test_the_weekly_workflow_asks_for_no_more_than_reading():
    assert WEEKLY["permissions"] == {"contents": "read"}
    assert {"schedule", "workflow_dispatch"} == set(WEEKLY[True]), "YAML reads `on` as true"
    assert not [c for c in weekly_commands().values() if "${{" in c]
