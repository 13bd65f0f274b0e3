"""A zip that was handed in: what its members are, and where each limit begins."""

from __future__ import annotations

import io
import stat
import struct
import zipfile

import pytest

from lesson.core.refusals import Unreadable
from lesson.submission.archive import zip_file
from lesson.submission.archive.view import View
from lesson.submission.archive.zip_file import read_zip

STORED, DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED


def packed(*members: tuple[str, bytes, int, int], comment: bytes = b"") -> io.BytesIO:
    """A zip of (name, data, mode, compression)."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.comment = comment
        for name, data, mode, compression in members:
            info = zipfile.ZipInfo(name)
            info.create_system, info.external_attr, info.compress_type = 3, mode << 16, compression
            archive.writestr(info, data)
    return file


def view_of(file: io.BytesIO) -> View:
    view = View()
    read_zip(file, view)
    return view


def test_files_are_taken_and_what_is_no_file_is_named():
    view = view_of(
        packed(
            ("a.txt", b"abc", 0, STORED),
            ("b.txt", b"abcd", stat.S_IFREG | 0o644, DEFLATED),
            ("pipe", b"", stat.S_IFIFO | 0o644, STORED),
            ("lzma", b"x", 0, zipfile.ZIP_LZMA),
            ("folder/", b"", 0, STORED),
            ("../out/", b"", 0, STORED),
            ("base-model", b"/root/model", stat.S_IFLNK | 0o777, STORED),
            ("passwd", b"/etc/passwd", stat.S_IFLNK | 0o777, STORED),
            ("z.txt", b"z", 0, STORED),
        )
    )
    assert {name: entry.size for name, entry in view.entries.items()} == {"a.txt": 3, "b.txt": 4, "z.txt": 1}
    assert view.read("b.txt", 9) == b"abcd" and view.read("z.txt", 9) == b"z"
    assert view.problems == [
        "pipe: a device or pipe",
        "lzma: an unusual compression",
        "../out/: leaves the folder by ..",
        "passwd: a link that leaves the folder",
    ]
    assert view.notes == ["base-model: a link to the base, not followed"]


@pytest.mark.parametrize(("length", "leaves"), [(4096, False), (4097, True)])
def test_a_link_with_a_target_longer_than_a_path_leads_nowhere_known(length, leaves):
    view = view_of(packed(("x", b"a" * length, stat.S_IFLNK | 0o777, STORED)))
    assert bool(view.problems) is leaves


def test_an_encrypted_member_is_named_and_one_with_another_flag_is_read():
    file = packed(("a.txt", b"abc", 0, STORED), ("b.txt", b"x", 0, STORED))
    data = bytearray(file.getvalue())
    at = data.find(b"PK\x01\x02")
    data[at + 8] |= 0x1
    data[data.find(b"PK\x01\x02", at + 1) + 8] |= 0x4  # how hard it was packed
    view = view_of(io.BytesIO(data))
    assert view.problems == ["a.txt: encrypted"] and set(view.entries) == {"b.txt"}


def test_a_bomb_is_told_by_its_ratio_where_it_is_large(monkeypatch):
    monkeypatch.setattr(zip_file, "SMALL", 1 << 20)
    monkeypatch.setattr(zip_file, "HIGHEST_RATIO", 100)
    zeros = bytes(2 << 20)
    assert view_of(packed(("small", bytes(1 << 20), 0, DEFLATED))).entries
    assert view_of(packed(("iter_1.pth", zeros, 0, DEFLATED))).entries  # never opened
    with pytest.raises(Unreadable, match=r"^x unpacks to 2 MiB from 2 KiB: a bomb"):
        view_of(packed(("x", zeros, 0, DEFLATED)))
    stored = packed(("x", zeros, 0, STORED))
    data = bytearray(stored.getvalue())
    at = data.find(b"PK\x01\x02") + 20
    size = len(zeros)
    for packed_size, bomb in ((-(-size // 100), False), (size // 100, True), (0, True)):
        data[at : at + 4] = struct.pack("<L", packed_size)
        if bomb:
            with pytest.raises(Unreadable, match="a bomb"):
                view_of(io.BytesIO(data))
        else:
            assert view_of(io.BytesIO(data)).entries


def test_the_directory_is_bounded_before_it_is_read(monkeypatch):
    monkeypatch.setattr(zip_file, "MOST_FILES", 2)
    four = [(name, b"", 0, STORED) for name in "abcd"]
    assert len(view_of(packed(*four)).entries) == 4
    with pytest.raises(Unreadable, match="more than 2 files"):
        view_of(packed(*four, ("e", b"", 0, STORED)))
    size = 46 + 1  # bytes of an entry of the directory, its name counted
    monkeypatch.setattr(zip_file, "LARGEST_DIRECTORY", size)
    assert view_of(packed(four[0])).entries
    monkeypatch.setattr(zip_file, "LARGEST_DIRECTORY", size - 1)
    with pytest.raises(Unreadable, match="files"):
        view_of(packed(four[0]))


def test_the_end_is_found_behind_the_longest_comment_and_a_cut_one_is_told():
    longest = packed(("a", b"x", 0, STORED), comment=b"c" * 65535)
    assert set(view_of(longest).entries) == {"a"}
    whole = packed(("a", b"x", 0, STORED)).getvalue()
    for cut in (whole[:-1], whole[:-22], b"PK\x05\x06"):
        with pytest.raises(Unreadable, match="cut off"):
            view_of(io.BytesIO(cut))


@pytest.mark.parametrize(("limit", "value"), [("MOST_FILES", 1), ("LARGEST_DIRECTORY", 60)])
def test_the_directory_of_a_zip64_is_bounded_too(monkeypatch, limit, value):
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 1)
    file = packed(*((name, b"", 0, STORED) for name in "abc"))
    assert b"PK\x06\x06" in file.getvalue() and len(view_of(file).entries) == 3
    monkeypatch.setattr(zip_file, limit, value)
    with pytest.raises(Unreadable, match="files"):
        view_of(file)


@pytest.mark.parametrize(
    ("raw", "flag", "name", "notes"),
    [
        ("作业.txt".encode("gb18030"), 0, "作业.txt", 1),
        ("作业.txt".encode(), 0, "作业.txt", 1),
        ("作业.txt".encode(), 0x800, "作业.txt", 0),
        (b"a.txt", 0, "a.txt", 0),
        (b"a\\b.txt", 0, "a/b.txt", 0),
    ],
)
def test_a_name_is_read_as_the_system_that_packed_it_wrote_it(raw, flag, name, notes):
    placeholder = b"x" * len(raw)
    data = bytearray(packed((placeholder.decode(), b"data", 0, STORED)).getvalue().replace(placeholder, raw))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.find(mark) + offset
        data[at : at + 2] = struct.pack("<H", flag)
    view = view_of(io.BytesIO(data))
    assert list(view.entries) == [name] and len(view.notes) == notes and view.read(name, 9) == b"data"


def claiming(record: bytes, offset: int, claim: bytes) -> io.BytesIO:
    """A zip of one byte with `claim` written `offset` bytes into the last record of this signature."""
    data = bytearray(packed(("x", b"x", 0, STORED)).getvalue())
    at = data.rfind(record) + offset
    data[at : at + len(claim)] = claim
    return io.BytesIO(data)


@pytest.mark.parametrize(
    ("size", "packed_size", "bomb"),
    [
        (10 << 20, 1, False),
        ((10 << 20) + 1, 1, True),
        (12_000_000, 40_000, False),  # 300 times
        (12_000_001, 40_000, True),
    ],
)
def test_a_member_of_more_than_10_mib_unpacks_to_at_most_300_times_its_size(size, packed_size, bomb):
    file = claiming(b"PK\x01\x02", 20, struct.pack("<LL", packed_size, size))
    if bomb:
        with pytest.raises(Unreadable, match="a bomb"):
            view_of(file)
    else:
        assert view_of(file).entries["x"].size == size


@pytest.mark.parametrize(
    ("count", "length", "many"), [(4000, 47, False), (4001, 47, True), (1, 4 << 20, False), (1, (4 << 20) + 1, True)]
)
def test_a_directory_has_at_most_4000_entries_and_4_mib(count, length, many):
    file = claiming(b"PK\x05\x06", 10, struct.pack("<HL", count, length))
    if many:
        with pytest.raises(Unreadable, match="2000 files"):
            view_of(file)
    else:
        zip_file._require_small_directory(file)


@pytest.mark.parametrize(
    ("record", "magic", "sound"),
    [(56, b"PK\x06\x06", True), (55, b"PK\x06\x06", False), (56, b"PK\x06\x05", False), (60, b"PK\x06\x06", False)],
)
def test_a_zip64_s_record_stands_whole_before_its_locator(record, magic, sound):
    """76 bytes before the end's record, where zipfile looks for it: cut off by a byte it is none."""
    locator = b"PK\x06\x07" + bytes(16)
    file = io.BytesIO(magic + bytes(record - 4) + locator + b"PK\x05\x06" + bytes(18))
    if sound:
        zip_file._require_small_directory(file)
    else:
        with pytest.raises(Unreadable, match="cut off"):
            zip_file._require_small_directory(file)
