"""A release: the changelog keeps its form, the version stands in one place, and make bump ends in commands that work."""

from __future__ import annotations

import datetime
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from lesson.core.messages import UserError
from lesson.core.settings import ROOT
from lesson.install.release import CHANGELOG, PROJECT, bump_version, find_problems, read_version, split_changelog
from recipe import bump

TODAY = datetime.date(2030, 1, 31)
CHANGES = """# Changelog

Words.

## [Unreleased]

### Added

- One thing
  on two lines.
- `make this`.

### Fixed

- # is no heading here.

## [0.1.0] - 2026-11-25

### Added

- All.
"""
TOML = '[project]\nname = "x"\nversion = "0.1.0"\n\n[tool.other]\nversion = "0.1.0"\n'


@pytest.fixture
def root(tmp_path) -> Path:
    (tmp_path / CHANGELOG).write_text(CHANGES, encoding="utf-8")
    (tmp_path / PROJECT).write_text(TOML, encoding="utf-8")
    return tmp_path


def bumped(root: Path, version: str = "0.2.0"):
    return bump_version(root, version, TODAY, root / "build")


def texts(root: Path) -> tuple[str, str]:
    return tuple((root / name).read_text(encoding="utf-8") for name in (CHANGELOG, PROJECT))


# --- this repository ------------------------------------------------------------------------------------------------------


def test_our_changelog_keeps_its_form_and_ends_at_our_version():
    version = read_version((ROOT / PROJECT).read_text(encoding="utf-8"))
    assert list(find_problems((ROOT / CHANGELOG).read_text(encoding="utf-8"), version)) == []


def test_the_version_stands_in_one_place():
    named = re.compile(r"__version__ *=|^version *[=:]", re.MULTILINE)
    files = [*ROOT.glob("lesson/**/*.py"), *ROOT.glob("recipe/*.py"), *ROOT.glob("*.toml"), *ROOT.glob("*.yml")]
    assert [path.name for path in files if named.search(path.read_text(encoding="utf-8"))] == [PROJECT]


# --- the form -------------------------------------------------------------------------------------------------------------


def test_a_good_one_has_no_problem():
    assert list(find_problems(CHANGES, "0.1.0")) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("# Changelog", "# Changes", "does not begin"),
        ("## [Unreleased]", "## Unreleased", "does not come first"),
        ("## [0.1.0] - 2026-11-25", "## [0.1.0]", "YYYY-MM-DD"),
        ("## [0.1.0] - 2026-11-25", "## [0.1.0] - 2026-02-30", "YYYY-MM-DD"),
        ("## [0.1.0] - 2026-11-25", "## [0.01.0] - 2026-11-25", "YYYY-MM-DD"),
        ("## [0.1.0] - 2026-11-25", "## [0.2.0] - 2026-11-25", "newest release is not 0.1.0"),
        ("- All.\n", "- All.\n\n## [0.1.1] - 2026-11-01\n\n### Added\n\n- x\n", "does not come after"),
        ("- All.\n", "- All.\n\n## [0.0.9] - 2026-11-26\n\n### Added\n\n- x\n", "does not come after"),
        ("### Fixed", "### Mended", "### Mended is unknown"),
        ("### Fixed", "### Added", "stands twice"),
        ("- All.", "All.", "no item of a list: All."),
        ("- All.\n", "", "### Added is empty"),
        ("### Added\n\n- All.\n", "", "is empty"),
        ("### Added\n\n- One", "Words.\n\n### Added\n\n- One", "text before"),
    ],
)
def test_each_slip_is_named(old, new, said):
    assert old in CHANGES
    problems = list(find_problems(CHANGES.replace(old, new, 1), "0.1.0"))
    assert problems and any(said in problem for problem in problems), problems


# --- make bump ------------------------------------------------------------------------------------------------------------


def test_unreleased_becomes_the_version_with_its_date(root):
    made = bumped(root)
    changelog, project = texts(root)
    bodies = split_changelog(changelog)
    assert list(bodies) == ["## [Unreleased]", "## [0.2.0] - 2030-01-31", "## [0.1.0] - 2026-11-25"]
    assert bodies["## [Unreleased]"] == ""
    assert bodies["## [0.2.0] - 2030-01-31"] == split_changelog(CHANGES)["## [Unreleased]"]
    assert project == TOML.replace('version = "0.1.0"', 'version = "0.2.0"', 1)
    assert list(find_problems(changelog, "0.2.0")) == []
    assert made.notes.startswith("[0.2.0] - 2030-01-31\n\n### Added\n\n- One thing\n")


def test_the_commands_that_it_tells_make_a_commit_and_a_tag_with_the_notes(root):
    run = {"cwd": root, "check": True, "capture_output": True, "text": True}
    origin = root / "origin.git"
    for command in (
        "git init -q -b main .",
        f"git init -q --bare {shlex.quote(str(origin))}",
        f"git remote add origin {shlex.quote(str(origin))}",
        "git config user.name t",
        "git config user.email t@example.org",
        f"git add {CHANGELOG} {PROJECT}",
        "git commit -qm begin",
    ):
        subprocess.run(shlex.split(command), **run)
    made = bumped(root)
    head = subprocess.run(["git", "rev-parse", "HEAD"], **run).stdout
    assert subprocess.run(["git", "tag"], **run).stdout == "" and len(made.commands) == 4, "it tags nothing itself"
    for command in made.commands:
        subprocess.run(shlex.split(command), **run)
    assert subprocess.run(["git", "rev-parse", "HEAD~1"], **run).stdout == head
    changed = subprocess.run(["git", "show", "--format=", "--name-only", "HEAD"], **run).stdout
    assert set(changed.split()) == {CHANGELOG, PROJECT}
    notes = subprocess.run(["git", "tag", "-l", "--format=%(contents)", "v0.2.0"], **run).stdout
    assert notes.strip() == made.notes.strip() and "### Fixed" in notes
    there = subprocess.run(["git", "ls-remote", str(origin)], **run).stdout
    assert "refs/heads/main" in there and "refs/tags/v0.2.0" in there


@pytest.mark.parametrize("written", [CHANGELOG, PROJECT])
def test_after_a_kill_the_same_command_ends_it(root, written, tmp_path_factory):
    """Between the two files, and behind both; a day later."""
    begin = texts(root)
    bumped(root)
    wanted = texts(root)
    if written == CHANGELOG:
        (root / PROJECT).write_text(begin[1], encoding="utf-8")
    shutil.rmtree(root / "build")
    again = bump_version(root, "0.2.0", TODAY + datetime.timedelta(days=1), root / "build")
    assert texts(root) == wanted and again.notes == (root / "build" / "notes-0.2.0.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("version", ["0.1.0.1", "0.0.9", "1", "v0.2.0", "", "0.2.0-rc1", "0.02.0", "０.２.０"])
def test_what_is_not_the_next_version_is_refused_with_the_next(root, version):
    with pytest.raises(UserError, match=r"make bump VERSION=0\.2\.0") as error:
        bumped(root, version)
    assert texts(root) == (CHANGES, TOML) and f"VERSION={version}" in str(error.value)


def test_a_changelog_without_a_change_or_form_is_not_touched(root):
    empty = re.sub(r"\[Unreleased\].*?## \[0", "[Unreleased]\n\n## [0", CHANGES, flags=re.DOTALL)
    for text, said in ((empty, "nothing stands under Unreleased"), (CHANGES.replace("- All.", "All."), "no item")):
        (root / CHANGELOG).write_text(text, encoding="utf-8")
        with pytest.raises(UserError, match=said):
            bumped(root)
        assert texts(root) == (text, TOML)


def test_the_command_shows_notes_and_what_to_type(root, call, monkeypatch):
    monkeypatch.setattr(bump, "ROOT", root)
    status, out, err = call(bump, "--version", "0.2.0", "--build", str(root / "build"))
    assert status == 0, err
    assert "- `make this`." in out and out.rstrip().endswith("git push origin HEAD v0.2.0")
    status, _, err = call(bump, "--build", str(root / "build"))
    assert status == 2 and "make bump VERSION=0.3.0" in err
