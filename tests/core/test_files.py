"""Files appear whole or not at all, and what a user edited is not overwritten."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time

import pytest

from lesson.core import files
from lesson.core.files import atomic, read_json, readable, sha256, sha256_tree, write_json
from lesson.core.messages import UserError
from lesson.core.settings import ROOT


def test_a_failed_write_leaves_the_earlier_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("earlier")
    with pytest.raises(RuntimeError), atomic(path) as file:
        file.write("half of")
        raise RuntimeError
    assert path.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [path], "no temporary file is left"


@pytest.mark.slow
def test_a_write_killed_at_any_moment_leaves_one_of_the_two_files_whole(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"a" * 1_000_000)
    loop = (
        "import sys; from lesson.core.files import atomic\n"
        "for letter in 'bc' * 1000:\n"
        "    with atomic(sys.argv[1]) as file:\n"
        "        for _ in range(100): file.write(letter * 10_000)\n"
    )
    for wait in (0.15, 0.2, 0.25, 0.3):
        child = subprocess.Popen([sys.executable, "-c", loop, str(path)])
        time.sleep(wait)
        child.send_signal(signal.SIGKILL)
        child.wait()
        content = path.read_bytes()
        assert len(content) == 1_000_000
        assert len(set(content)) == 1, "bytes of one version only"


def test_a_file_is_written_as_utf_8_with_lf_into_a_folder_that_is_made(tmp_path):
    path = tmp_path / "a" / "b" / "c.txt"
    with atomic(path) as file:
        file.write("名\nx\n")
    with atomic(path.with_name("d"), "wb") as file:
        file.write(b"\xff\r\n")
    assert path.read_bytes() == "名\nx\n".encode() and path.with_name("d").read_bytes() == b"\xff\r\n"
    with files.atomic_folder(tmp_path / "e" / "f" / "g") as folder:
        (folder / "x").touch()
    assert (tmp_path / "e" / "f" / "g" / "x").exists()
    assert sorted(p.name for p in path.parent.iterdir()) == ["c.txt", "d"]


def test_an_atomic_file_gets_the_permissions_of_any_new_file(tmp_path):
    with atomic(tmp_path / "a") as file:
        file.write("x")
    (tmp_path / "b").write_text("x")
    assert os.stat(tmp_path / "a").st_mode == os.stat(tmp_path / "b").st_mode


def test_the_hash_of_a_folder_changes_with_names_and_contents_and_not_with_records(tmp_path):
    (tmp_path / "a").write_text("1")
    first = sha256_tree(tmp_path)
    (tmp_path / "x.record.json").write_text("{}")
    assert sha256_tree(tmp_path) == first
    (tmp_path / "a").rename(tmp_path / "b")
    second = sha256_tree(tmp_path)
    assert second != first
    (tmp_path / "b").write_text("2")
    assert sha256_tree(tmp_path) not in (first, second)


@pytest.mark.parametrize("kind", ["missing", "folder", "empty"])
def test_an_unreadable_file_is_named_with_the_remedy(tmp_path, kind):
    path = tmp_path / "x"
    if kind == "folder":
        path.mkdir()
    if kind == "empty":
        path.touch()
    with pytest.raises(UserError) as caught:
        readable(path, "the remedy")
    assert str(path) in str(caught.value)
    assert "the remedy" in str(caught.value)


def test_broken_json_is_located_by_line_and_column(tmp_path):
    path = tmp_path / "x.json"
    path.write_text('{\n  "a": ,\n}')
    with pytest.raises(UserError, match=r"x\.json:2:8"):
        read_json(path, "mend it")


def test_written_json_reads_back(tmp_path):
    value = {"名字": ["机智流", 1.5, None], "b": {"c": True}}
    write_json(tmp_path / "x.json", value)
    assert read_json(tmp_path / "x.json", "") == value
    assert len(sha256(tmp_path / "x.json")) == 64


@pytest.mark.parametrize("exchange", [True, False])
@pytest.mark.parametrize("before", ["nothing", "folder", "link"])
def test_a_folder_appears_whole_in_place_of_what_was_there(tmp_path, monkeypatch, exchange, before):
    if not exchange:
        monkeypatch.setattr(files, "_exchange_names", lambda one, other: False)
    target, elsewhere = tmp_path / "target", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").touch()
    if before == "folder":
        target.mkdir()
        (target / "old").touch()
    elif before == "link":
        target.symlink_to(elsewhere)
    with files.atomic_folder(target) as folder:
        (folder / "new").touch()
        assert folder != target and not (target / "new").exists()
    assert [p.name for p in target.iterdir()] == ["new"] and not target.is_symlink()
    assert (elsewhere / "kept").exists() and sorted(p.name for p in tmp_path.iterdir()) == ["elsewhere", "target"]
    assert target.stat().st_mode & 0o777 == elsewhere.stat().st_mode & 0o777


def test_a_folder_that_fails_leaves_the_old_one(tmp_path, monkeypatch):
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "old").touch()
    with pytest.raises(RuntimeError), files.atomic_folder(tmp_path / "target") as folder:
        (folder / "half").touch()
        raise RuntimeError
    monkeypatch.setattr(files, "_exchange_names", lambda one, other: False)
    with pytest.raises(FileNotFoundError):
        files.replace_folder(tmp_path / "no such", tmp_path / "target")
    assert [p.name for p in tmp_path.iterdir()] == ["target"] and (tmp_path / "target" / "old").exists()


def test_a_kill_at_any_moment_leaves_the_old_folder_or_the_new(tmp_path):
    """A child replaces a folder again and again; whoever looks always finds one that is whole."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    if not files._exchange_names(tmp_path / "a", tmp_path / "b"):
        pytest.skip("this file system cannot exchange two names")
    (tmp_path / "a").rmdir()
    (tmp_path / "b").rmdir()
    script = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from lesson.core.files import atomic_folder
number = 0
while True:
    with atomic_folder({str(tmp_path / "target")!r}) as folder:
        (folder / "first").write_text(str(number))
        (folder / "second").write_text(str(number))
    number += 1
    print(number, flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as child:
        child.stdout.readline()
        for _ in range(200):
            assert (tmp_path / "target").is_dir()
        child.kill()
    found = {(tmp_path / "target" / name).read_text() for name in ("first", "second")}
    assert len(found) == 1
    assert all(
        p.name.startswith(".target.") and p.suffix in (".tmp", ".new") for p in tmp_path.iterdir() if p.name != "target"
    )


def test_large_files_hashed_at_once_give_the_same_hash(tmp_path, monkeypatch):
    (tmp_path / "deep").mkdir()
    for number in range(5):
        (tmp_path / ("deep" if number % 2 else ".") / f"{9 - number}.bin").write_bytes(bytes([number]) * 1000)
    one_by_one = sha256_tree(tmp_path)
    monkeypatch.setattr(files, "LARGE", 1)
    assert sha256_tree(tmp_path) == one_by_one


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_killed_processes_left_goes_and_what_is_written_now_stays(tmp_path):
    (tmp_path / ".a.x.tmp").write_text("left")
    (tmp_path / ".a.y.tmp").mkdir()
    (tmp_path / ".a.y.tmp" / "half").touch()
    (tmp_path / ".b.x.tmp").write_text("of another name")
    (tmp_path / ".a.z.tmp").symlink_to("nowhere")
    (tmp_path / "a.x.tmp").write_text("a user's")
    with open(tmp_path / ".a.now.tmp", "w") as written:
        fcntl.flock(written, fcntl.LOCK_EX)
        with atomic(tmp_path / "a") as file:
            file.write("x")
        assert names(tmp_path) == [".a.now.tmp", ".b.x.tmp", "a", "a.x.tmp"]
    files.remove_left_files(tmp_path)
    assert names(tmp_path) == ["a", "a.x.tmp"]
    files.remove_left_files(tmp_path / "no such folder")


@pytest.mark.parametrize(("age", "stays"), [(0, True), (59, True), (61, False), (-59, True), (-61, False)])
@pytest.mark.parametrize("folder", [True, False])
def test_what_is_not_locked_yet_goes_after_a_minute_by_whatever_clock(tmp_path, age, stays, folder):
    path = tmp_path / ".a.x.new"
    path.mkdir() if folder else path.touch()
    then = time.time() - age
    os.utime(path, (then, then))
    files.remove_left_files(tmp_path, "a")
    assert path.exists() is stays


@pytest.mark.parametrize("there", [False, True])
def test_what_went_aside_before_a_kill_comes_back_unless_its_successor_is_there(tmp_path, there):
    aside = tmp_path / ".target.x.tmp"
    (aside / "old").mkdir(parents=True)
    (aside / "old" / "rows").write_text("old")
    if there:
        (tmp_path / "target").mkdir()
    files.remove_left_files(tmp_path, "target")
    assert names(tmp_path) == ["target"] and (tmp_path / "target" / "rows").exists() is not there


def test_a_temporary_folder_goes_whatever_happens(tmp_path):
    for fails in (False, True):
        with contextlib.suppress(RuntimeError), files.temporary_folder(tmp_path / "a" / "b") as folder:
            assert folder.parent == tmp_path / "a" and folder.name.startswith(".b.") and folder.name.endswith(".tmp")
            (folder / "x").touch()
            if fails:
                raise RuntimeError
        assert names(tmp_path / "a") == []


@pytest.mark.parametrize("before", ["nothing", "file", "folder", "link"])
def test_a_link_takes_the_place_of_what_was_there(tmp_path, before):
    (tmp_path / "target").mkdir()
    (tmp_path / "other").mkdir()
    link = tmp_path / "link"
    if before == "file":
        link.touch()
    elif before == "folder":
        (link / "x").mkdir(parents=True)
    elif before == "link":
        link.symlink_to(tmp_path / "other")
    files.replace_link(link, tmp_path / "target")
    assert os.readlink(link) == str(tmp_path / "target") and names(tmp_path) == ["link", "other", "target"]


def test_the_finished_file_is_announced_before_it_has_its_name(tmp_path):
    seen = []
    with atomic(
        tmp_path / "a", announce=lambda path: seen.append((path.read_text(), (tmp_path / "a").exists()))
    ) as file:
        file.write("x")
    with files.atomic_folder(
        tmp_path / "b", lambda path: seen.append((names(path), (tmp_path / "b").exists()))
    ) as folder:
        (folder / "y").touch()
    assert seen == [("x", False), (["y"], False)]


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o000])
def test_permissions_are_those_of_the_umask(tmp_path, mask):
    before = os.umask(mask)
    try:
        with atomic(tmp_path / "a") as file:
            file.write("x")
        with files.atomic_folder(tmp_path / "b"):
            pass
    finally:
        assert os.umask(before) == mask
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o666 & ~mask
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o777 & ~mask


def test_a_full_disk_is_told_with_the_file_that_was_written(tmp_path):
    for given, told in ((OSError(28, "full"), str(tmp_path / "a")), (OSError(2, "gone", "other"), "other")):
        with pytest.raises(OSError) as caught, atomic(tmp_path / "a"):
            raise given
        assert caught.value.filename == told
    with pytest.raises(ValueError), atomic(tmp_path / "a"):
        raise ValueError
    assert names(tmp_path) == []


def test_a_hash_is_that_of_bytes_or_of_a_folder_s_sorted_files(tmp_path):
    import hashlib

    (tmp_path / "b").mkdir()
    for name, text in (("b/a", "1"), ("c", "2")):
        (tmp_path / name).write_text(text)
    one, two = (hashlib.sha256(text.encode()).hexdigest() for text in "12")
    assert files.hash_path(tmp_path / "c") == sha256(tmp_path / "c") == two
    whole = hashlib.sha256(f"b/a\0{one}\nc\0{two}\n".encode()).hexdigest()
    assert files.hash_path(tmp_path) == sha256_tree(tmp_path) == whole


def test_json_that_is_none_is_told_by_its_kind(tmp_path):
    path = tmp_path / "x.json"
    for data, told in (
        (b"\xff", "UTF-8: "),
        (b"[" * 100_000, "nested too deeply"),
        (b"1 2", r"x\.json:1:3: JSON: Extra data"),
    ):
        path.write_bytes(data)
        with pytest.raises(UserError, match=told):
            read_json(path, "mend it")
    with pytest.raises(ValueError):
        write_json(path, float("nan"))
    write_json(path, {"b": "名", "a": 1})
    assert path.read_text("utf-8") == '{\n  "b": "名",\n  "a": 1\n}\n'
