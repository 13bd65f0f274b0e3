"""A folder that was handed in: its regular files alone, within the limits; one bad name hides nothing that follows."""

from __future__ import annotations

import os

import pytest

from lesson.core.refusals import Unreadable
from lesson.submission.archive import folder
from lesson.submission.archive.folder import read_folder
from lesson.submission.archive.view import View


def view_of(top) -> View:
    view = View()
    read_folder(top, view)
    return view


def test_a_link_to_the_folder_or_into_it_is_inside_and_one_to_its_neighbour_is_not(tmp_path):
    top = tmp_path / "s"
    (top / "sub").mkdir(parents=True)
    (tmp_path / "s2").mkdir()
    (top / "a.txt").write_text("x")
    for name, target in {"top": top, "into": top / "sub", "sub/up": ".."}.items():
        (top / name).symlink_to(target)
    view = view_of(top)
    assert not view.problems and len(view.notes) == 3 and set(view.entries) == {"a.txt"}
    (top / "next").symlink_to(tmp_path / "s2")
    assert [p.split(":")[0] for p in view_of(top).problems] == ["next"]


def test_a_name_that_is_not_utf8_is_a_problem_and_what_follows_is_still_read(tmp_path):
    with open(os.fsencode(tmp_path) + b"/a\xff.txt", "w"):
        pass
    (tmp_path / "b.txt").write_text("xy")
    os.mkfifo(tmp_path / "c")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "e.txt").write_text("z")
    view = view_of(tmp_path)
    assert {name: entry.size for name, entry in view.entries.items()} == {"b.txt": 2, "d/e.txt": 1}
    assert [p.rpartition(": ")[2] for p in view.problems] == ["not UTF-8", "a device or pipe"]
    with view.open("d/e.txt") as file:
        assert file.read() == b"z"


def test_as_many_entries_as_twice_the_files_are_looked_at_and_no_more(tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "MOST_FILES", 4)
    for index in range(8):  # empty folders: they are no files, but cost time
        (tmp_path / f"d{index}").mkdir()
    assert not view_of(tmp_path).entries
    (tmp_path / "d8").mkdir()
    with pytest.raises(Unreadable, match="more than 4 files"):
        view_of(tmp_path)


def test_folders_are_read_as_deep_as_a_path_may_go_and_no_deeper(tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "DEEPEST_FOLDER", 2)
    (tmp_path / "a/b/c/d").mkdir(parents=True)
    for place in ("a/b/c", "a/b/c/d"):
        (tmp_path / place / "x.txt").write_text("x")
    view = view_of(tmp_path)
    assert set(view.entries) == {"a/b/c/x.txt"} and view.problems == ["folders nested too deep"]
    (tmp_path / "a/b/c/d/x.txt").unlink()
    (tmp_path / "a/b/c/d").rmdir()
    (tmp_path / "a/b/c/x.txt").unlink()
    (tmp_path / "a/b/c").rmdir()
    assert not view_of(tmp_path).problems


def test_what_became_a_pipe_or_a_link_since_it_was_listed_is_not_waited_for(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "b.txt").write_text("x")
    view = view_of(tmp_path)
    (tmp_path / "a.txt").unlink()
    (tmp_path / "a.txt").symlink_to("b.txt")
    with pytest.raises(Unreadable), view.open("a.txt"):
        pass
    (tmp_path / "b.txt").unlink()
    os.mkfifo(tmp_path / "b.txt")
    with view.open("b.txt") as file:
        assert file.read() == b""
