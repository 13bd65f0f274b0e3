"""Files of rows: packed or not, read block by block with the numbers of their lines, and written whole."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import re
import sys

import pytest
import zstandard

from lesson.core.messages import UserError
from lesson.data import rows
from lesson.data.rows import (
    Block,
    find_marked_lines,
    is_packed,
    open_bytes,
    open_output,
    read_blocks,
    read_lines,
    read_rows,
    split_lines,
)

DATA = b"line one\nline two\n" * 50


def packings() -> dict[str, bytes]:
    return {"gz": gzip.compress(DATA), "zst": zstandard.compress(DATA), "plain": DATA}


@pytest.mark.parametrize("kind", ["gz", "zst", "plain"])
@pytest.mark.parametrize("name", ["rows.jsonl", "rows"])
def test_a_file_is_unpacked_by_its_bytes_whatever_it_is_called(tmp_path, kind, name):
    data, digest = packings()[kind], hashlib.sha256()
    path = tmp_path / name
    path.write_bytes(data)
    with open_bytes(path, digest=digest) as stream:
        assert b"".join(iter(lambda: stream.read(100), b"")) == DATA
    assert digest.hexdigest() == hashlib.sha256(data).hexdigest()
    assert is_packed(path) is (kind != "plain")


def test_what_stands_behind_the_packed_data_is_in_the_digest_too(tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "LONGEST_LINE", 10)
    data, digest = gzip.compress(DATA) + b"\0" * 50, hashlib.sha256()
    path = tmp_path / "a.gz"
    path.write_bytes(data)
    with open_bytes(path, digest=digest) as stream:
        stream.read(5)
    assert digest.hexdigest() == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_a_name_promises_a_packed_file(tmp_path, ending):
    path = tmp_path / f"rows{ending}"
    path.write_bytes(DATA)
    assert is_packed(path)
    with pytest.raises(UserError, match="cannot be unpacked"), open_bytes(path) as stream:
        stream.read(10)


@pytest.mark.parametrize("ending", ["gz", "zst"])
def test_a_file_that_ends_too_early_is_told(tmp_path, ending):
    path = tmp_path / "rows"
    whole = packings()[ending]
    path.write_bytes(whole[:-6] if ending == "gz" else whole[:-1])
    told = pytest.raises(UserError, match="cannot be unpacked") if ending == "gz" else contextlib.nullcontext()
    with told, open_bytes(path) as stream:
        assert len(stream.read()) <= len(DATA)


def test_a_window_of_64_mib_is_the_largest(tmp_path):
    for log, fine in ((26, True), (27, False)):
        parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=log)
        packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
        path = tmp_path / f"{log}.zst"
        path.write_bytes(packer.compress(DATA) + packer.flush())
        if fine:
            with open_bytes(path) as stream:
                assert stream.read() == DATA
        else:
            with pytest.raises(UserError, match="cannot be unpacked"), open_bytes(path) as stream:
                stream.read()


def test_two_frames_are_one_file(tmp_path):
    path = tmp_path / "a.zst"
    path.write_bytes(zstandard.compress(b"a\n") + zstandard.compress(b"b\n"))
    with open_bytes(path) as stream:
        assert stream.read() == b"a\nb\n"


@pytest.mark.parametrize(
    ("name", "unpack"), [("a.jsonl", bytes), ("a.gz", gzip.decompress), ("a.zst", zstandard.decompress)]
)
def test_output_is_packed_by_its_name_and_the_same_each_time(tmp_path, name, unpack):
    made = []
    for _ in range(2):
        with open_output(str(tmp_path / name)) as file:
            file.write(DATA)
        made.append((tmp_path / name).read_bytes())
    assert made[0] == made[1]
    unpacked = zstandard.ZstdDecompressor().decompressobj().decompress(made[0]) if name == "a.zst" else unpack(made[0])
    assert unpacked == DATA
    with pytest.raises(UserError, match="a folder"), open_output(str(tmp_path)):
        pass


def test_minus_is_standard_input_and_output(monkeypatch):
    out, given = io.BytesIO(), io.BytesIO(DATA)
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(given))
    with open_bytes("-") as stream, open_output("-") as file:
        file.write(stream.read())
    assert out.getvalue() == DATA


def blocks(data: bytes) -> list[tuple[int, bytes | None]]:
    return list(read_blocks(io.BytesIO(data)))


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", []),
        (b"a", [(1, b"a\n")]),
        (b"a\n", [(1, b"a\n")]),
        (b"aa\nbb\ncc\ndd", [(1, b"aa\nbb\ncc\n"), (4, b"dd\n")]),
        (b"0123456789\nb\n", [(1, b"0123456789\nb\n")]),  # as long as a line may be
        (b"01234567890\nb\n", [(1, None), (2, b"b\n")]),
        (b"a\n" + b"x" * 11 + b"\nb", [(1, b"a\n"), (2, None), (3, b"b\n")]),
        (b"a\n" + b"x" * 40 + b"\nb\nc", [(1, b"a\n"), (2, None), (3, b"b\n"), (4, b"c\n")]),
        (b"x" * 40, [(1, None)]),
        (b"x" * 25 + b"\n" + b"y" * 25 + b"\nb\n", [(1, None), (2, None), (3, b"b\n")]),
        (b"a\rb\r\nc\nd\ne\nf", [(1, b"a\rb\r\nc\nd\n"), (5, b"e\n"), (6, b"f\n")]),
    ],
)  # fmt: skip
def test_blocks_of_whole_lines_with_their_numbers(monkeypatch, data, found):
    monkeypatch.setattr(rows, "LONGEST_LINE", 10)
    assert blocks(data) == found
    numbers = [number for number, _ in read_lines(io.BytesIO(data))]
    assert numbers == list(range(1, len(numbers) + 1))


def test_lines_end_in_lf_cr_or_both():
    assert split_lines(b"a\r\nb\rc\nd\n") == [b"a", b"b", b"c", b"d"] and split_lines(b"\n") == [b""]


def test_marked_lines_are_told_once_each():
    assert list(find_marked_lines(re.compile("x"), "x x\na\n\nxx\nb\nx")) == [0, 3, 5]
    assert list(find_marked_lines(re.compile("x"), "a\nb")) == []


USUAL = '{"conversation": [{"system": "s", "input": "a", "output": "b"}]}\n'
ANY = '{"conversation": [{"output": "b", "input": "a"}]}\n'


def test_a_block_knows_how_far_its_rows_are_canonical():
    assert Block(b"\xff\n").text is None
    for text, usual, canonical in (
        (USUAL * 2, 2 * len(USUAL), 2 * len(USUAL)),
        (USUAL + ANY, len(USUAL), len(USUAL + ANY)),
        (ANY + USUAL, 0, len(ANY + USUAL)),
        (USUAL + "{}\n" + USUAL, len(USUAL), len(USUAL)),
    ):
        block = Block(text.encode())
        assert (block.usual, block.canonical) == (usual, canonical) and not block.written_by_json


@pytest.mark.parametrize(
    ("line", "fine"),
    [
        ('{"conversation": [{"output": "b"}]}', True),
        ('{"conversation": [{"input": "b"}]}', False),
        ('{"conversation": []}', False),
        ('{"conversation": {}}', False),
        ("[]", False),
        ("3", False),
        ("{", False),
    ],
)
def test_rows_that_were_validated_are_read_or_told_with_their_line(tmp_path, line, fine):
    path = tmp_path / "a.jsonl"
    path.write_text(USUAL + line + "\n")
    if fine:
        assert list(read_rows(path)) == [json.loads(USUAL), json.loads(line)]
        return
    with pytest.raises(UserError) as told:
        list(read_rows(path))
    assert told.value.where == f"{path}:2" and f"make check-data SRC={path}" in told.value.remedy
