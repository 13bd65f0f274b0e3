"""What a view takes in: every limit holds at its border, and each wrong path is told from its nearest right one."""

from __future__ import annotations

import errno
import hashlib
import io

import pytest

from lesson.core.refusals import Unreadable
from lesson.submission.archive import view as view_module
from lesson.submission.archive.view import DEEPEST_FOLDER, LONGEST_NAME, View, is_unread, wrong_name


def view_with(**files: bytes) -> View:
    view = View()
    for name, data in files.items():
        view.add_file(name, len(data), lambda data=data: io.BytesIO(data))
    return view


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("a/b.txt", None),
        ("日志/1.log", None),
        ("a..b/c", None),
        ("/etc/x", "an absolute path"),
        ("\\x", "an absolute path"),
        ("C:x", "an absolute path"),
        ("a/C:x", None),
        ("a/../b", "leaves the folder by .."),
        ("a\\..\\b", "leaves the folder by .."),
        ("a\\b", "a path with a character that has no place there"),
        ("a\u202eb", "a path with a character that has no place there"),
        ("a\nb", "a path with a character that has no place there"),
        ("", "too long or too deep a path"),
        ("x" * LONGEST_NAME, None),
        ("x" * (LONGEST_NAME + 1), "too long or too deep a path"),
        ("/".join("x" * DEEPEST_FOLDER), None),
        ("/".join("x" * (DEEPEST_FOLDER + 1)), "too long or too deep a path"),
    ],
)
def test_a_wrong_path_is_told_from_a_right_one(name, wrong):
    assert wrong_name(name) == wrong


@pytest.mark.parametrize(
    ("name", "unread"),
    [
        ("iter_1.pth", True),
        ("A.PTH", True),
        ("model.safetensors", True),
        ("x/pytorch_model-00001-of-00008.bin", True),
        ("blobs/" + "a" * 40, True),
        ("blobs/" + "a" * 39, False),
        ("adapter/model.safetensors", False),
        ("adapter_model.safetensors", False),
        ("my_model.safetensors", False),
        ("a.json", False),
    ],
)
def test_checkpoints_and_the_bases_weights_are_never_opened(name, unread):
    assert is_unread(name) is unread


def test_the_bytes_and_files_of_a_view_are_bounded_at_the_limit_itself(monkeypatch):
    monkeypatch.setattr(view_module, "LARGEST", 2 << 20)
    monkeypatch.setattr(view_module, "LARGEST_UNREAD", 100)
    monkeypatch.setattr(view_module, "MOST_FILES", 4)
    view = View()
    for name, size in {"a": 1 << 20, "b": 1 << 20, "c.pth": 60, "d.pth": 40}.items():
        view.add_file(name, size, io.BytesIO)
    assert (view.total, view.unread, len(view.entries)) == (2 << 20, 100, 4)
    with pytest.raises(Unreadable, match="more than 4 files"):
        view.add_file("e", 0, io.BytesIO)
    for name, sizes in {"x": (2 << 20, 1), "x.pth": (100, 1)}.items():
        view = View()
        view.add_file(name, sizes[0], io.BytesIO)
        with pytest.raises(Unreadable, match="more than 2 MiB in all"):
            view.add_file("y" + name, sizes[1], io.BytesIO)


def test_a_file_twice_or_with_a_wrong_path_is_a_problem_and_litter_is_none():
    view = View()
    for name in ("a", "./a", "../b", "__MACOSX/x", "c/.DS_Store", ".git/HEAD", "A"):
        view.add_file(name, 1, io.BytesIO)
    assert list(view.entries) == ["a", "A"] and view.total == 2
    assert [p.partition(": ")[2] for p in view.problems[:2]] == ["twice", "leaves the folder by .."]
    assert len(view.problems) == 3 and view.problems[2].startswith("A and a differ only in case")


def test_a_thousand_problems_are_fifty():
    view = View()
    for index in range(1000):
        view.add_problem(str(index))
    assert view.problems == [str(index) for index in range(50)]


@pytest.mark.parametrize(
    ("name", "target", "problems"),
    [
        ("a/b", "../c", 0),
        ("a/b", "../../c", 1),
        ("a", "b/../../c", 1),
        ("a", "/etc/passwd", 1),
        ("internlm2_5-7b-chat", "/root/share/x", 0),
        ("x", "../internlm2_5-7b-chat", 0),
        ("data", "../notes", 1),
        ("data", "-notes/x", 0),
        ("data", "..notes", 0),
        ("data", "!a", 0),
    ],
)
def test_a_link_does_harm_where_it_leaves_the_folder_for_another_thing_than_the_base(name, target, problems):
    view = View()
    view.add_link(name, target)
    assert (len(view.problems), len(view.notes)) == (problems, 1 - problems)


def test_a_link_that_stays_inside_may_have_any_target():
    view = View()
    view.add_link("x", "/tmp/s/y", inside=True)
    assert not view.problems and len(view.notes) == 1


def test_a_file_is_read_up_to_what_was_allowed_and_hashed_whole():
    data = bytes(range(256)) * 8192  # 2 MiB, more than one piece
    view = view_with(a=data, b=b"x" * 2048)
    assert view.read("b", 2048) == b"x" * 2048 and view.head("b", 3) == b"xxx" and len(view.head("a")) == 4096
    with pytest.raises(Unreadable, match=r"b: more than 1 KiB"):
        view.read("b", 2047)
    assert view.sha256("a") == hashlib.sha256(data).hexdigest()
    view.add_file("c", 1, lambda: io.BytesIO(b"12345"))  # longer than its header says
    assert view.read("c", 2) == b"123"


def test_a_file_that_cannot_be_opened_is_the_learners_and_a_broken_disk_is_not():
    view = View()
    for name, number in {"gone": errno.ENOENT, "disk": errno.EIO}.items():
        view.add_file(name, 1, lambda number=number: (_ for _ in ()).throw(OSError(number, "why")))
    with pytest.raises(Unreadable, match="gone: why"), view.open("gone"):
        pass
    with pytest.raises(OSError, match="why"), view.open("disk"):
        pass


def test_a_view_below_a_folder_has_the_same_files_without_it():
    view = View()
    view.add_file("s/a", 1, lambda: io.BytesIO(b"x"))
    view.add_file("s/b/s/c", 2, io.BytesIO)
    below = view.below("s")
    assert {n: (e.name, e.size) for n, e in below.entries.items()} == {"a": ("a", 1), "b/s/c": ("b/s/c", 2)}
    assert below.read("a", 1) == b"x"


def test_a_submission_has_at_most_a_gibibyte_2000_files_and_64_gibibytes_of_checkpoints():
    for name, most in {"a.log": 1 << 30, "a.pth": 64 << 30}.items():
        View().add_file(name, most, io.BytesIO)
        with pytest.raises(Unreadable, match="1024 MiB"):
            View().add_file(name, most + 1, io.BytesIO)
    view = View()
    for index in range(2000):
        view.add_file(str(index), 0, io.BytesIO)
    with pytest.raises(Unreadable, match="2000 files"):
        view.add_file("x", 0, io.BytesIO)
    assert wrong_name("x" * 255) is None is wrong_name("a/" * 11 + "a")
    assert wrong_name("x" * 256) == wrong_name("a/" * 12 + "a") == "too long or too deep a path"
