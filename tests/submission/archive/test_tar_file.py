"""A tar that was handed in: Python's own tarfile writes it in each form, and each limit holds at its border."""

from __future__ import annotations

import gzip
import io
import os
import tarfile

import pytest

from lesson.core.refusals import Unreadable
from lesson.submission.archive import tar_file
from lesson.submission.archive.tar_file import LARGEST_EXTENSION, UnpackedTar, read_tar, unpack_gzip
from lesson.submission.archive.view import View

FORMS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)


def packed(*members: tuple[str, bytes, bytes, str], form: int = tarfile.PAX_FORMAT, **pax: str) -> io.BytesIO:
    """A tar of (name, data, type, target)."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as archive:
        for name, data, kind, target in members:
            info = tarfile.TarInfo(name)
            info.size, info.type, info.linkname, info.pax_headers = len(data), kind, target, pax
            archive.addfile(info, io.BytesIO(data))
    return file


def plain(name: str, data: bytes = b"x") -> tuple[str, bytes, bytes, str]:
    return name, data, tarfile.REGTYPE, ""


def view_of(file: io.BytesIO) -> View:
    view = View()
    read_tar(file, view)
    return view


def with_checksum(header: bytes) -> bytes:
    total = sum(header[:148]) + 8 * 32 + sum(header[156:512])
    return header[:148] + b"%06o\0 " % total + header[156:]


@pytest.mark.parametrize("form", FORMS)
def test_members_of_all_sizes_and_names_are_read(form):
    sizes = {"a": 0, "b": 1, "c": 511, "d": 512, "e": 513, "作业/" + "f" * 90: 7, "g" * 60 + "/" + "h" * 90: 3}
    files = {name: os.urandom(size) for name, size in sizes.items()}
    view = view_of(packed(*(plain(name, data) for name, data in files.items()), form=form))
    assert not view.problems and {name: view.read(name, 999) for name in view.entries} == files
    with view.open("e") as file:  # in pieces
        assert file.read(500) + file.read(100) + file.read() == files["e"] and file.read() == b""


@pytest.mark.parametrize("form", FORMS[1:])
def test_a_path_and_a_target_longer_than_a_header_hold_for_one_member(form):
    name, target = "n" * 150, "internlm/" + "t" * 150
    view = view_of(packed((name, b"", tarfile.SYMTYPE, target), plain("z"), form=form))
    assert view.notes and not view.problems and set(view.entries) == {"z"}
    view = view_of(packed((name, b"", tarfile.SYMTYPE, "/" + "t" * 150), plain("z"), form=form))
    assert [p.rpartition(": ")[2] for p in view.problems] == ["a link that leaves the folder"]


def test_what_is_no_file_is_named():
    view = view_of(
        packed(
            ("hard", b"", tarfile.LNKTYPE, "z"),
            ("pipe", b"", tarfile.FIFOTYPE, ""),
            ("disk", b"", tarfile.BLKTYPE, ""),
            ("folder/", b"", tarfile.DIRTYPE, ""),
            ("./", b"", tarfile.DIRTYPE, ""),
            ("../up", b"", tarfile.DIRTYPE, ""),
            ("base-model", b"", tarfile.SYMTYPE, "/root/model"),
            ("cont", b"c", tarfile.CONTTYPE, ""),
            ("old", b"o", tarfile.AREGTYPE, ""),
            plain("z"),
        )
    )
    assert set(view.entries) == {"cont", "old", "z"}
    assert view.problems[:3] == ["hard: a link", "pipe: a device or pipe", "disk: a device or pipe"]
    assert [p.rpartition(": ")[2] for p in view.problems[3:]] == ["leaves the folder by .."]
    assert view.notes == ["base-model: a link to the base, not followed"]


def test_a_name_that_is_not_utf8_is_a_problem_and_what_follows_is_read():
    data = packed(plain("abc"), plain("z"), form=tarfile.USTAR_FORMAT).getvalue()
    view = view_of(io.BytesIO(with_checksum(b"a\xffc" + data[3:512]) + data[512:]))
    assert set(view.entries) == {"z"} and [p.rpartition(": ")[2] for p in view.problems] == ["not UTF-8"]


def test_a_broken_header_or_a_cut_member_is_refused():
    data = packed(plain("a", b"x" * 600), form=tarfile.USTAR_FORMAT).getvalue()
    for at in (0, 100, 147, 156, 300, 511):
        broken = bytearray(data)
        broken[at] ^= 1
        with pytest.raises(Unreadable, match="broken header"):
            view_of(io.BytesIO(broken))
    for field in (slice(124, 136), slice(148, 156)):
        broken = bytearray(data)
        broken[field] = b"z" * len(broken[field])
        with pytest.raises(Unreadable, match="broken header"):
            view_of(io.BytesIO(broken))
    assert view_of(io.BytesIO(data[: 512 + 600])).entries and not view_of(io.BytesIO(data[:511])).entries
    with pytest.raises(Unreadable, match="cut off"):
        view_of(io.BytesIO(data[: 512 + 599]))


def test_nothing_is_read_behind_the_end():
    data = packed(plain("a"), form=tarfile.USTAR_FORMAT).getvalue()
    assert set(view_of(io.BytesIO(data[:1024] + bytes(512) + data[:1024])).entries) == {"a"}
    assert set(view_of(io.BytesIO(data[:1024] + with_checksum(b"b" + data[1:512]) + data[512:1024])).entries) == set(
        "ab"
    )


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK])
def test_an_extended_header_has_at_most_64_kib(kind):
    assert LARGEST_EXTENSION == 65536
    assert view_of(packed(("x", bytes(65536), kind, ""), plain("z"), form=tarfile.USTAR_FORMAT)).entries or kind == b"L"
    with pytest.raises(Unreadable, match="64 KiB"):
        view_of(packed(("x", bytes(65537), kind, ""), plain("z"), form=tarfile.USTAR_FORMAT))


def records(*pairs: tuple[str, bytes]) -> bytes:
    """Pax records: the length of each counts its own digits."""
    found = b""
    for key, value in pairs:
        rest = b" " + key.encode() + b"=" + value + b"\n"
        length = next(n for n in range(len(rest), len(rest) + 7) if len(str(n)) + len(rest) == n)
        found += str(length).encode() + rest
    return found


def test_pax_records_give_path_and_size_of_the_next_member_alone():
    others = [(key, b"1") for key in ("mtime", "uid")]  # numbers too, which say nothing about the size
    extension = records(("comment", b"c" * 200), ("path", "作业/长.txt".encode()), ("size", b"3"), *others)
    file = packed(("x", extension, tarfile.XHDTYPE, ""), plain("a", b"abcde"), plain("b", b"fg"), form=FORMS[0])
    view = view_of(file)
    assert {name: view.read(name, 9) for name in view.entries} == {"作业/长.txt": b"abc", "b": b"fg"}
    for size in (b"x", b"1" * 16, b"-1"):  # no size at all: the header's holds
        file = packed(("x", records(("size", size)), tarfile.XHDTYPE, ""), plain("a", b"abcde"), form=FORMS[0])
        assert view_of(file).read("a", 9) == b"abcde"
    with pytest.raises(Unreadable, match="cut off"):
        view_of(packed(("x", records(("size", b"1" * 15)), tarfile.XHDTYPE, ""), plain("a"), form=FORMS[0]))
    everywhere = packed(("x", records(("path", b"p")), tarfile.XGLTYPE, ""), plain("a"), form=FORMS[0])
    assert set(view_of(everywhere).entries) == {"a"}


@pytest.mark.parametrize("bad", [b"0 path=x\n", b"7 path=x\n", b"path=x\n", b"9999999 path=x\n"])
def test_a_broken_record_ends_the_extended_header(bad):
    file = packed(("x", bad + records(("path", b"p")), tarfile.XHDTYPE, ""), plain("a"), form=FORMS[0])
    assert set(view_of(file).entries) == {"a"}


def without_end(file: io.BytesIO) -> io.BytesIO:
    """A tar of one member without the zeros behind it."""
    size = int(file.getvalue()[124:135], 8)
    return io.BytesIO(file.getvalue()[: 512 + -(-size // 512) * 512])


def zipped(file: io.BytesIO) -> io.BytesIO:
    return io.BytesIO(gzip.compress(file.getvalue(), 1))


@pytest.mark.parametrize("form", FORMS)
def test_gzip_leaves_out_what_is_never_read_and_nothing_else(form):
    names = ("a", "b.pth", "c", "d" * 70 + "/" + "e" * 60 + ".pth", "f")
    files = {name: os.urandom(1500 + index) for index, name in enumerate(names)}
    file = packed(*(plain(name, data) for name, data in files.items()), form=form)
    with View() as view:
        unpacked = unpack_gzip(zipped(file), 0, view)
        read_tar(unpacked, view)
        assert not view.problems and {n: e.size for n, e in view.entries.items()} == {n: len(files[n]) for n in names}
        assert {name: view.read(name, 9999) for name in "acf"} == {name: files[name] for name in "acf"}
        assert view.head("b.pth", 10) == b"" and unpacked.size >= sum(map(len, files.values()))


def test_a_stream_that_is_cut_or_broken_is_refused_and_a_member_that_is_cut_too():
    data = zipped(packed(plain("a", os.urandom(3000)))).getvalue()
    for broken in (data[:-9], data[:200], data[:300] + b"\0" * 20 + data[320:]):
        with View() as view, pytest.raises(Unreadable):
            unpack_gzip(io.BytesIO(broken), len(broken), view)
    cut = packed(plain("a", os.urandom(3000))).getvalue()[:2000]
    with View() as view, pytest.raises(Unreadable, match="cut off"):
        read_tar(unpack_gzip(zipped(io.BytesIO(cut)), 9, view), view)


def test_a_bomb_is_told_by_its_ratio_where_it_is_large_and_by_its_size(monkeypatch):
    monkeypatch.setattr(tar_file, "SMALL", 4096)
    monkeypatch.setattr(tar_file, "HIGHEST_RATIO", 10)
    file = without_end(packed(plain("a", bytes(4096)), form=FORMS[0]))  # its header and it: 4608 bytes
    for packed_size, bomb in ((461, False), (460, True)):
        with View() as view:
            if bomb:
                with pytest.raises(Unreadable, match="a bomb"):
                    unpack_gzip(zipped(file), packed_size, view)
            else:
                assert unpack_gzip(zipped(file), packed_size, view).size >= 4608
    with View() as view:  # small: any ratio
        unpack_gzip(zipped(without_end(packed(plain("a", bytes(3584)), form=FORMS[0]))), 1, view)
    monkeypatch.setattr(tar_file, "SMALL", 1 << 30)
    for limit, value in (("MOST_UNPACKED", 4607), ("MOST_UNPACKED", 4608)):
        monkeypatch.setattr(tar_file, limit, value)
        with View() as view:
            if value < 4608:
                with pytest.raises(Unreadable, match="a bomb"):
                    unpack_gzip(zipped(file), 1 << 20, view)
            else:
                unpack_gzip(zipped(file), 1 << 20, view)


@pytest.mark.parametrize("block", [bytes(512), packed(plain("a", b"")).getvalue()[:512]])
def test_a_tar_of_nothing_but_headers_is_a_bomb_too(monkeypatch, block):
    monkeypatch.setattr(tar_file, "SMALL", 4096)
    with View() as view, pytest.raises(Unreadable, match="a bomb"):
        unpack_gzip(zipped(io.BytesIO(block * 9999)), 4096, view)
    extended = packed(("x", bytes(60000), tarfile.XHDTYPE, ""), form=FORMS[0]).getvalue()[: 512 + 60416]
    with View() as view, pytest.raises(Unreadable, match="a bomb"):
        unpack_gzip(zipped(io.BytesIO(extended * 30)), 4096, view)


def test_what_is_kept_is_bounded_and_a_checkpoint_does_not_count(monkeypatch):
    monkeypatch.setattr(tar_file, "LARGEST", 1024)
    monkeypatch.setattr(tar_file, "CHUNK", 512)
    for size, name, bomb in ((1, "a", False), (1024, "a", False), (1025, "a", True), (9999, "a.pth", False)):
        file = without_end(packed(plain(name, os.urandom(size)), form=FORMS[0]))
        with View() as view:
            if bomb:
                with pytest.raises(Unreadable, match="unpacks to more than 0 MiB from 1024 KiB"):
                    unpack_gzip(zipped(file), 1 << 20, view)
            else:
                unpack_gzip(zipped(file), 1 << 20, view)


def test_an_unpacked_tar_is_read_as_the_tar_would_be_up_to_each_gap():
    tar = UnpackedTar(io.BytesIO())
    tar.append(b"abc")
    tar.append(b"def")
    tar.skip(10)
    tar.append(b"ghi")
    assert tar.size == 19 and tar.seek(0, os.SEEK_END) == 19 and tar.read(1) == b""
    assert tar.seek(2) == 2 and tar.read(2) == b"cd" and tar.read(99) == b"ef" and tar.read(1) == b""
    tar.seek(16)
    assert tar.read(2) == b"gh" and tar.read(5) == b"i" and tar.seek(-3, os.SEEK_END) == 16
    tar.seek(12)
    assert tar.read(5) == b""
    assert UnpackedTar(io.BytesIO()).read(1) == b""


@pytest.mark.parametrize(
    ("size", "packed_size", "bomb"),
    [
        ((10 << 20) - 512, 1, False),
        (10 << 20, 1, True),
        ((12 << 20) - 512, 41944, False),
        ((12 << 20) - 512, 41943, True),
    ],
)
def test_a_stream_of_more_than_10_mib_unpacks_to_at_most_300_times_its_size(size, packed_size, bomb):
    file = zipped(without_end(packed(plain("a", bytes(size)), form=FORMS[0])))
    with View() as view:
        if bomb:
            with pytest.raises(Unreadable, match="a bomb"):
                unpack_gzip(file, packed_size, view)
        else:
            assert unpack_gzip(file, packed_size, view).size == size + 512


def test_what_is_appended_behind_a_gap_is_one_piece_again():
    tar = UnpackedTar(io.BytesIO())
    tar.append(b"ab")
    tar.skip(10)
    tar.append(b"cd")
    tar.append(b"ef")
    assert tar.read(1) == b"a" and tar.seek(12) == 12 and tar.read(9) == b"cdef"
    tar.seek(5)
    assert tar.read(9) == b"", "a gap is no part of what comes behind it"


@pytest.mark.parametrize(
    ("name", "prefix", "magic", "told"),
    [
        ("a" * 96 + ".bin", "", b"ustar\0", "a" * 96 + ".bin"),
        ("b.txt", "c/d", b"ustar\0", "c/d/b.txt"),
        ("b.txt", "c/d", b"ustar ", "b.txt"),
        ("b.txt", "c/d", b"ustas\0", "b.txt"),
        ("b.txt", "p" * 155, b"ustar\0", "p" * 155 + "/b.txt"),
    ],
)
def test_a_name_has_a_hundred_bytes_and_a_prefix_of_155(name, prefix, magic, told):
    header = bytearray(512)
    header[:100] = name.encode().ljust(100, b"\0")
    header[124:136], header[156:157] = b"%011o\0" % 1, b"0"
    header[257:263], header[345:500] = magic, prefix.encode().ljust(155, b"\0")
    file = io.BytesIO(with_checksum(bytes(header)) + b"x".ljust(512, b"\0"))
    assert list(view_of(file).entries) == [told]


def test_a_checkpoint_with_the_longest_name_is_left_out():
    name = "a" * 96 + ".bin"
    with View() as view:
        tar = unpack_gzip(zipped(packed(plain(name, b"x" * 5000), plain("b.txt", b"kept"), form=FORMS[0])), 10**6, view)
        tar.seek(512)
        assert tar.read(9) == b"" and tar.size > 5000
        read_tar(tar, view)
        assert view.read("b.txt", 9) == b"kept" and view.entries[name].size == 5000


def test_a_member_is_read_in_pieces_and_as_a_whole():
    view = view_of(packed(plain("a", b"0123456789"), plain("b", b"xy")))
    with view.open("a") as file:
        assert (file.read(3), file.read(3), file.read(), file.read(1), file.read()) == (
            b"012",
            b"345",
            b"6789",
            b"",
            b"",
        )
    assert view.read("b", 9) == b"xy"


def test_a_bomb_is_told_with_its_sizes():
    file = zipped(without_end(packed(plain("a", bytes(12 << 20)), form=FORMS[0])))
    with View() as view, pytest.raises(Unreadable, match=r"^unpacks to more than \d+ MiB from 3 KiB: a bomb$") as told:
        unpack_gzip(file, 3 << 10, view)
    assert 10 <= int(str(told.value).split()[4]) <= 12
