"""What git says becomes an error that helps, and what a link leads to decides whether it is opened."""

from __future__ import annotations

import subprocess

import pytest

from lesson.core.messages import UserError
from lesson.submission import changes
from lesson.submission.changes import Changes, changed_files, refuse_link, repository_root


@pytest.fixture
def said(monkeypatch, tmp_path):
    """Makes git fail with a text; gives back what the user reads of it."""
    monkeypatch.chdir(tmp_path)

    def explain(text: str) -> UserError:
        done = subprocess.CompletedProcess(["git"], 128, b"", text.encode())
        monkeypatch.setattr(changes, "_git", lambda *arguments: done)
        with pytest.raises(UserError) as raised:
            changes._require("ls-files")
        return raised.value

    return explain


def test_what_git_says_when_it_fails_becomes_what_helps(said, tmp_path):
    owner = said("fatal: dubious ownership\n\n\tgit config --global --add safe.directory /srv/x")
    assert (owner.what, owner.remedy[-6:]) == ("the repository belongs to another user", "/srv/x")
    assert said("dubious ownership").remedy.endswith(str(tmp_path))
    none = said("fatal: not a git repository (or any of the parent directories): .git")
    assert none.what == "not a git repository" and "without --since" in none.remedy
    other = said("warning: x\nfatal: index file corrupt")
    assert (other.where, other.what, other.remedy) == (
        str(tmp_path),
        "fatal: index file corrupt",
        "git status shows more",
    )
    assert said("").what == "git"


@pytest.mark.parametrize(
    ("text", "is_id"),
    [("0123abc", True), ("ABCDEF0", True), ("a" * 64, True), ("a" * 6, False), ("a" * 65, False), ("main123", False)],
)
def test_what_may_be_the_id_of_a_commit(text, is_id):
    assert changes._is_commit_id(text) is is_id


def git(folder, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path, monkeypatch):
    folder = tmp_path / "r"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    for name in ("a.py", "b.py"):
        (folder / name).write_text("1")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "1")
    monkeypatch.chdir(folder)
    return folder


def test_the_files_that_differ_from_a_commit_or_from_where_the_branches_part(repository):
    first = git(repository, "rev-parse", "HEAD")
    (repository / "a.py").write_text("2")
    (repository / "c.txt").write_text("2")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "2")
    assert changed_files(first, ["*.py"]) == Changes(["a.py"])
    assert changed_files("0" * 40, ["*.py"]) == Changes(["a.py", "b.py"])
    git(repository, "checkout", "-q", "-b", "other", first)
    (repository / "b.py").write_text("3")
    git(repository, "commit", "-qam", "3")
    other = git(repository, "rev-parse", "HEAD")
    git(repository, "checkout", "-q", "main")
    parted = changed_files(other, ["*.py"])
    assert parted.files == ["a.py"] and first[:12] in parted.note and other[:12] in parted.note
    gone = changed_files("1234567", ["*.py"])
    assert gone.files == ["a.py", "b.py"] and "is gone" in gone.note
    with pytest.raises(UserError, match="no such commit or branch"):
        changed_files("nothing", ["*.py"])
    git(repository, "checkout", "-q", "--orphan", "new")
    git(repository, "commit", "-qm", "4")
    apart = changed_files(first, ["*.py"])
    assert apart.files == ["a.py", "b.py"] and "all files are checked" in apart.note


def test_a_shallow_clone_says_how_to_fetch_what_is_missing(repository, tmp_path, monkeypatch):
    (repository / "a.py").write_text("2")
    git(repository, "commit", "-qam", "2")
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{repository}", "s")
    monkeypatch.chdir(tmp_path / "s")
    with pytest.raises(UserError, match="shallow clone"):
        changed_files("1234567", ["*.py"])


def test_no_link_is_opened_that_leads_out_of_the_repository_or_into_gits_own_folder(repository, tmp_path):
    (tmp_path / "secret").write_text("x")
    (repository / "out").symlink_to(tmp_path / "secret")
    (repository / "git").symlink_to(repository / ".git" / "config")
    (repository / "in").symlink_to("a.py")
    (repository / "gone").symlink_to("nothing")
    (repository / "sub").mkdir()
    assert refuse_link("out") == refuse_link("git") == "a link out of the repository"
    assert refuse_link("in") is refuse_link("a.py") is refuse_link("gone") is refuse_link("nothing") is None
    assert refuse_link("sub") == "no regular file"
    assert refuse_link(str(tmp_path / "secret")) is None  # named from elsewhere
    assert repository_root(repository / "sub") == repository


@pytest.mark.parametrize("status", [-9, 1, 128])
def test_a_git_that_was_killed_or_failed_found_no_commit(monkeypatch, status):
    def git(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.CompletedProcess(arguments, status if arguments[1] == "--verify" else 0, b"false", b"")

    monkeypatch.setattr(changes, "_git", git)
    with pytest.raises(UserError, match="no such commit or branch"):
        changed_files("main", ["*.py"])
