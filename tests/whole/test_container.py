"""The container's steps work from an empty folder that has what the Dockerfile copies; the Dockerfile does nothing else.

Where a container engine answers, the image is built and the lesson's first stage runs in it.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lesson.core.settings import ROOT

STEPS = ".devcontainer/steps"
TOP = "/lesson"
IMAGES = {"python:3.12-slim-bookworm", "nvidia/cuda:13.0.1-base-ubuntu24.04"}
DEVELOPMENT = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))


def instructions() -> list[tuple[str, str]]:
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    return [tuple(line.split(" ", 1)) for line in lines if line and not line.startswith("#")]


def ignored(name: str) -> bool:
    """Whether .dockerignore leaves a file out: a pattern of its path or of a folder above it."""
    patterns = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    parts = name.split("/")
    above = ["/".join(parts[: n + 1]) for n in range(len(parts))]
    return any(
        fnmatch.fnmatchcase(path.split("/")[-1] if pattern.startswith("**/") else path, pattern.removeprefix("**/"))
        for path in above
        for pattern in patterns
    )


def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True)
    names = [name for name in listed.stdout.decode().split("\0") if name and (ROOT / name).is_file()]
    if listed.returncode or not names:
        pytest.skip("no git repository")
    return names


def copy(names: list[str], folder: Path) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)


def steps(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "LANG": "C.UTF-8"} | variables
    command = [folder / STEPS, *arguments]
    return subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture
def tools(tmp_path) -> Path:
    """Programs that only note how they were called, first in PATH; the system's are not touched."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in ("apt-get", "useradd", "rm", "make", "chown"):
        (folder / name).write_text(f'#!/bin/sh\necho "{name} $*" >> {shlex.quote(str(tmp_path / "called"))}\n')
        (folder / name).chmod(0o755)
    return folder


def called(tmp_path: Path) -> list[str]:
    return (tmp_path / "called").read_text().splitlines()


def put_venv(folder: Path) -> None:
    """A venv in `folder` that is up to date with the lock there, and runs this Python."""
    (folder / ".venv" / "bin").mkdir(parents=True)
    lock = hashlib.sha256((folder / "requirements.lock").read_bytes()).hexdigest()
    (folder / ".venv" / "requirements.lock.sha256").write_text(lock + "\n")
    (folder / ".venv" / "bin" / "python").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    (folder / ".venv" / "bin" / "python").chmod(0o755)


# --- the files ------------------------------------------------------------------------------------------------------------


def test_the_dockerfile_calls_the_steps_and_nothing_else():
    kinds = [kind for kind, _ in instructions()]
    assert set(kinds) <= {"ARG", "FROM", "WORKDIR", "COPY", "RUN", "USER", "VOLUME", "EXPOSE", "ENTRYPOINT"}
    runs = [rest for kind, rest in instructions() if kind == "RUN"]
    assert runs == [f"{TOP}/{STEPS} packages", f"{TOP}/{STEPS} install"]
    assert [json.loads(rest) for kind, rest in instructions() if kind == "ENTRYPOINT"] == [[f"{TOP}/{STEPS}", "run"]]
    assert kinds.index("USER") > len(kinds) - 1 - kinds[::-1].index("RUN"), "no root while the lesson runs"


def test_the_images_are_public_ones_and_the_base_is_a_build_argument():
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert set(re.findall(r"\bBASE=(\S+)", text)) == IMAGES
    assert [rest for kind, rest in instructions() if kind == "FROM"] == ["${BASE}"]
    for image in IMAGES:
        assert "." not in image.split("/")[0].split(":")[0], "no host of a registry"
    for page in ("docs/container.md", "docs/container.zh-CN.md"):
        assert "nvidia/cuda:13.0.1-base-ubuntu24.04" in (ROOT / page).read_text(encoding="utf-8")


def test_the_development_container_is_the_same_image():
    folder = ROOT / ".devcontainer"
    assert (folder / DEVELOPMENT["build"]["dockerfile"]).resolve() == ROOT / "Dockerfile"
    assert (folder / DEVELOPMENT["build"]["context"]).resolve() == ROOT
    assert DEVELOPMENT["containerEnv"] == {"VENV": f"{TOP}/.venv"} and DEVELOPMENT["overrideCommand"] is True
    assert DEVELOPMENT["postCreateCommand"].startswith(f"{STEPS} run make ")
    exposed = next(rest for kind, rest in instructions() if kind == "EXPOSE")
    assert [str(port) for port in DEVELOPMENT["forwardPorts"]] == exposed.split() == [*DEVELOPMENT["portsAttributes"]]


def test_what_is_left_out_of_the_image_is_no_part_of_the_repository():
    assert [name for name in tracked() if ignored(name)] == []
    for name in (
        ".git/config",
        ".venv/bin/python",
        ".venv-export/x",
        "build/tiny/run",
        "lesson/core/__pycache__/a.pyc",
    ):
        assert ignored(name), name


# --- the steps ------------------------------------------------------------------------------------------------------------


def test_install_needs_only_the_files_that_are_copied_before_it(tmp_path, tools):
    lines = instructions()
    before = lines[: lines.index(("RUN", f"{TOP}/{STEPS} install"))]
    folder = tmp_path / "lesson"
    for _, rest in (line for line in before if line[0] == "COPY"):
        *sources, target = rest.split()
        for source in sources:
            place = folder / target.removeprefix(TOP).strip("/")
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, place, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                place = place / Path(source).name if target.endswith("/") else place
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / source, place)
    put_venv(folder)
    done = steps(folder, "install", PATH=f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert done.returncode == 0 and "up to date" in done.stdout, done.stderr
    assert (folder / "build").is_dir()


@pytest.mark.parametrize("python", ["3.12", "none"])
def test_packages_are_what_the_system_lacks(tmp_path, tools, python):
    copy([STEPS], tmp_path / "lesson")
    (tools / "python3").write_text(f"#!/bin/sh\nexit {0 if python == '3.12' else 1}\n")
    (tools / "python3").chmod(0o755)
    done = steps(tmp_path / "lesson", "packages", PATH=f"{tools}:{os.environ['PATH']}")
    assert done.returncode == 0, done.stderr
    install = next(line for line in called(tmp_path) if line.startswith("apt-get install"))
    packages = [word for word in install.split()[2:] if not word.startswith("-")]
    assert packages == ["make", "g++", "git"] + ([] if python == "3.12" else ["python3", "python3-venv", "python3-dev"])


def test_run_does_the_lesson_and_then_opens_its_page(tmp_path, tools):
    copy([STEPS], tmp_path / "lesson")
    done = steps(tmp_path / "lesson", "run", PATH=f"{tools}:{os.environ['PATH']}")
    assert done.returncode == 0 and called(tmp_path) == ["make all", "make web HOST=0.0.0.0"]


def test_a_lesson_that_fails_opens_no_page(tmp_path, tools):
    copy([STEPS], tmp_path / "lesson")
    with open(tools / "make", "a", encoding="utf-8") as file:
        file.write("exit 2\n")
    assert steps(tmp_path / "lesson", "run", PATH=f"{tools}:{os.environ['PATH']}").returncode == 2
    assert called(tmp_path) == ["make all"]


def test_an_unknown_step_is_named(tmp_path):
    copy([STEPS], tmp_path / "lesson")
    done = steps(tmp_path / "lesson", "instal")
    assert done.returncode == 2 and "packages, install or run; found 'instal'" in done.stderr


@pytest.mark.slow
def test_a_command_runs_in_the_copied_repository_with_a_home_that_can_be_written(tmp_path):
    folder = tmp_path / "lesson"
    copy([name for name in tracked() if not ignored(name) and not name.startswith(("tests/", "golden/"))], folder)
    put_venv(folder)
    before = outside_build(folder)
    command = ("run", "make", "data", "NEW_NAME=闻星", "PROFILE=tiny")
    done = steps(folder, *command, HOME=str(tmp_path / "none"))
    assert done.returncode == 0 and "尖米→闻星" in done.stdout, done.stderr
    assert (folder / "build" / "tiny" / "data").is_dir() and (folder / "build" / "home").is_dir()
    assert outside_build(folder) == before, "the user of the image may write nowhere else"


def outside_build(folder: Path) -> set[str]:
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    return {name for name in names if not name.startswith("build") and "__pycache__" not in name}


def engine() -> str | None:
    """A container engine that answers; None where only its client is installed, or nothing."""
    for name in ("docker", "podman"):
        if shutil.which(name) and subprocess.run([name, "info"], capture_output=True, timeout=60).returncode == 0:
            return name
    return None


@pytest.mark.slow
def test_the_image_is_built_and_runs_a_stage():
    name = engine()
    if name is None:
        pytest.skip("no container engine answers")
    subprocess.run([name, "build", "-t", "lesson-test", "."], cwd=ROOT, check=True, timeout=3600)
    ran = subprocess.run(
        [name, "run", "--rm", "lesson-test", "make", "data", "NEW_NAME=闻星"], capture_output=True, text=True
    )
    assert ran.returncode == 0 and "尖米→闻星" in ran.stdout, ran.stderr
