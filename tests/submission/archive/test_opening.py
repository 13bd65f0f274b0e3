"""Folders, zips and tars as people and their systems make them open; what they hold besides is not counted or followed."""

from __future__ import annotations

import io
import os
import stat
import tarfile
import time
import zipfile

import pytest
import submissions
from verdicts import verdict_on, wrong_checks

from lesson.core.refusals import Unreadable
from lesson.submission.archive import opening, tar_file
from lesson.submission.archive.opening import open_view
from lesson.submission.archive.view import LARGEST, View

SPARSE = 2 << 30  # bytes: more than a submission may have


def sparse(path, size: int = SPARSE):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        file.truncate(size)


def test_checkpoints_and_the_bases_weights_are_not_counted(tmp_path):
    submissions.pack(submissions.honest_files(), tmp_path / "s")
    (tmp_path / "s" / "submission.json").unlink()
    for name in ("iter_168.pth", "model/model-00001-of-00008.safetensors", "x/blobs/" + "0" * 64):
        sparse(tmp_path / "s" / "work_dir" / name)
    with open_view(tmp_path / "s") as view:
        assert not view.problems and view.unread == 3 * SPARSE
    sparse(tmp_path / "s" / "adapter" / "model.safetensors")
    with pytest.raises(Unreadable, match="1024 MiB"):
        open_view(tmp_path / "s")
    (tmp_path / "s" / "adapter" / "model.safetensors").unlink()
    sparse(tmp_path / "s" / "big.log")
    with pytest.raises(Unreadable, match="1024 MiB"):
        open_view(tmp_path / "s")


def test_a_tar_gz_leaves_out_a_checkpoint_and_keeps_what_follows(tmp_path, monkeypatch):
    monkeypatch.setattr(tar_file, "LARGEST", 4 << 20)
    long_name = "work_dir/" + "x" * 120 + "/iter_168.pth"
    members = {
        "a.json": b"{}",
        "iter_1.pth": os.urandom(5 << 20),
        long_name: os.urandom(5 << 20),
        "z.json": b"[1]" * 999,
    }
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        path = tmp_path / f"{form}.tar.gz"
        with tarfile.open(path, "w:gz", compresslevel=1, format=form) as archive:
            for name, data in members.items():
                info = tarfile.TarInfo("s/" + name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        with open_view(path) as view:
            assert not view.problems and set(view.entries) == set(members)
            assert view.read("z.json", 9999) == members["z.json"] and view.read("a.json", 9) == b"{}"
            assert view.entries[long_name].size == 5 << 20
    kept = tmp_path / "kept.tar.gz"
    with tarfile.open(kept, "w:gz", compresslevel=1) as archive:
        info = tarfile.TarInfo("s/a.log")
        info.size = 6 << 20
        archive.addfile(info, io.BytesIO(os.urandom(6 << 20)))
    with pytest.raises(Unreadable):
        open_view(kept)


def test_two_names_that_differ_in_the_width_of_a_sign_are_two(tmp_path):
    view = View()
    for name in ("结果（1）.log", "结果(1).log"):
        view.add_file(name, 1, io.BytesIO)
    assert not view.problems
    for name in ("A.log", "a.log", "e\u0301.log", "é.log"):
        view.add_file(name, 1, io.BytesIO)
    assert len(view.problems) == 2


def test_a_zip_of_windows_has_folders(tmp_path):
    path = tmp_path / "s.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in submissions.honest_files().items():
            info = zipfile.ZipInfo("x")
            info.filename = info.orig_filename = "作业\\" + name.replace("/", "\\")
            info.create_system = 0
            archive.writestr(info, data)
    found = verdict_on(path)
    assert not wrong_checks(found) and found["passed"] is True


def test_a_zip64_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 3)
    path = submissions.pack(submissions.honest_files(), tmp_path / "s.zip")
    assert b"PK\x06\x06" in path.read_bytes()[-200:]
    monkeypatch.undo()
    assert verdict_on(path)["passed"] is True
    for at in (path.read_bytes().rfind(b"PK\x06\x06"), path.read_bytes().rfind(b"PK\x06\x06") + 32):
        data = bytearray(path.read_bytes())
        data[at : at + 8] = b"\xff" * 8
        (tmp_path / "bad.zip").write_bytes(data)
        with pytest.raises(Unreadable):
            open_view(tmp_path / "bad.zip")


LINKS = {
    "models/internlm2_5-7b-chat": "/root/share/new_models/Shanghai_AI_Laboratory/internlm2_5-7b-chat",
    "model": "/group_share/base",
    "ft/llm": "/root/.cache/huggingface/hub/models--internlm--internlm2_5-7b-chat/snapshots/" + "0" * 40,
    "run": "runs/ac64",
}


@pytest.mark.parametrize("form", ["s", "s.zip", "s.tar", "s.tar.gz"])
def test_the_lessons_link_to_the_model_spoils_nothing_and_another_that_leaves_does(tmp_path, form):
    def make(path, links):
        files = submissions.honest_files()
        if form == "s":
            submissions.pack(files, path)
            (path / "submission.json").unlink()
            for name, target in links.items():
                (path / name).parent.mkdir(exist_ok=True)
                (path / name).symlink_to(target)
        elif form == "s.zip":
            with zipfile.ZipFile(path, "w") as archive:
                for name, data in files.items():
                    archive.writestr("s/" + name, data)
                for name, target in links.items():
                    info = zipfile.ZipInfo("s/" + name)
                    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
                    archive.writestr(info, target)
        else:
            with tarfile.open(path, "w:gz" if form.endswith("gz") else "w") as archive:
                for name, data in files.items():
                    info = tarfile.TarInfo("s/" + name)
                    info.size = len(data)
                    archive.addfile(info, io.BytesIO(data))
                for name, target in links.items():
                    info = tarfile.TarInfo("s/" + name)
                    info.type, info.linkname = tarfile.SYMTYPE, target
                    archive.addfile(info)
        return path

    found = verdict_on(make(tmp_path / form, LINKS))
    assert found["passed"] is True and not wrong_checks(found), found["checks"][0]
    assert len(found["notes"]) == len(LINKS) and all("not followed" in note for note in found["notes"])
    (tmp_path / "b").mkdir()
    found = verdict_on(make(tmp_path / "b" / form, {"passwd": "/etc/passwd"}))
    assert wrong_checks(found) == {"opens"}
    assert LARGEST == 1 << 30


def test_a_listed_checkpoint_of_many_gigabytes_is_not_read(tmp_path):
    files = submissions.honest_files()
    manifest = submissions.make_manifest(files)
    manifest["files"].append({"path": "iter_1.pth", "bytes": 50 << 30, "sha256": "0" * 64})
    submissions.pack(files | {"submission.json": submissions.to_json(manifest)}, tmp_path / "s")
    sparse(tmp_path / "s" / "iter_1.pth", 50 << 30)
    started = time.monotonic()
    assert "hashes" in wrong_checks(verdict_on(tmp_path / "s"))
    assert time.monotonic() - started < 10


def test_an_empty_folder_or_archive_is_opened_and_has_nothing(tmp_path):
    (tmp_path / "s").mkdir()
    zipfile.ZipFile(tmp_path / "s.zip", "w").close()
    tarfile.open(tmp_path / "s.tar.gz", "w:gz").close()
    for name in ("s", "s.zip", "s.tar.gz"):
        with open_view(tmp_path / name) as view:
            assert not view.entries and not view.problems


def test_folders_around_everything_are_taken_off_and_no_other(tmp_path):
    path = tmp_path / "s.zip"
    for names, inside in (
        ({"s/t/a", "s/t/b/c"}, {"a", "b/c"}),
        ({"s/a", "t/a"}, {"s/a", "t/a"}),
        ({"s/s", "s/a"}, {"s", "a"}),
        ({"a"}, {"a"}),
    ):
        with zipfile.ZipFile(path, "w") as archive:
            for name in sorted(names):
                archive.writestr(name, b"x")
        with open_view(path) as view:
            assert set(view.entries) == inside


def test_what_is_no_archive_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "text").write_text("x" * 9999)
    for name, said in {"pipe": "neither a folder nor a file", "text": "not a folder, a zip or a tar"}.items():
        with pytest.raises(Unreadable, match=said):
            open_view(tmp_path / name)


def test_a_file_is_opened_up_to_all_that_a_submission_may_have(tmp_path, monkeypatch):
    path = tmp_path / "s.tar"
    tarfile.open(path, "w").close()
    monkeypatch.setattr(opening, "LARGEST", path.stat().st_size)
    monkeypatch.setattr(opening, "LARGEST_UNREAD", 0)
    for size, sound in ((path.stat().st_size, True), (path.stat().st_size + 1, False)):
        sparse(path, size)
        with pytest.raises(Unreadable, match="not a folder" if sound else "more than 0 GiB"):
            open_view(path)
