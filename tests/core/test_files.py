"""Files appear whole or not at all, and what a user edited is not overwritten."""

from __future__ import annotations

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
