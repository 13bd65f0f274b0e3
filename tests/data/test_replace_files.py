"""Whole files replaced: in parts by several processes as in one, and errors at the line of the whole file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lesson.core.messages import UserError
from lesson.data import replace_files
from lesson.data.replace import Replacer
from lesson.data.replace_files import _find_cuts, _shift_error, replace_file
from lesson.data.rows import LONGEST_LINE


def row(number: int) -> str:
    turn = {"input": f"第{number}个问题", "output": "我是尖米。" * (number % 7 + 1)}
    return json.dumps({"conversation": [turn]}, ensure_ascii=False) + "\n"


def replaced(source: Path, jobs: int, replacer: Replacer | None = None) -> bytes:
    target = source.with_name("out.jsonl")
    replace_file(str(source), str(target), replacer or Replacer([("尖米", "闻星")]), jobs)
    return target.read_bytes()


@pytest.mark.parametrize("rows", [1, 3, 200])
def test_several_processes_write_what_one_writes_and_count_the_same(tmp_path, rows):
    source = tmp_path / "in.jsonl"
    source.write_text("".join(map(row, range(rows))).rstrip("\n"), encoding="utf-8")
    one, three = Replacer([("尖米", "闻星")]), Replacer([("尖米", "闻星")])
    assert replaced(source, 1, one) == replaced(source, 3, three) and one.changed == three.changed > 0
    assert replaced(source, 1) == "".join(map(row, range(rows))).replace("尖米", "闻星").encode()


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_an_error_stands_at_its_line_of_the_whole_file(tmp_path, jobs):
    lines = [row(n) for n in range(60)]
    lines[50] = "{broken}\n"
    source = tmp_path / "in:3.jsonl"
    source.write_text("".join(lines), encoding="utf-8")
    with pytest.raises(UserError) as told:
        replaced(source, jobs)
    assert str(told.value.where).startswith(f"{source}:51") and not (tmp_path / "out.jsonl").exists()


def test_a_line_that_is_too_long_is_told_by_one_process_and_by_two(tmp_path):
    source = tmp_path / "in.jsonl"
    source.write_text(row(1) + "x" * (LONGEST_LINE + 1) + "\n" + row(2), encoding="utf-8")
    for jobs in (1, 2):
        with pytest.raises(UserError) as told:
            replaced(source, jobs)
        assert told.value.where == f"{source}:2" and told.value.what == f"a line of more than {LONGEST_LINE} bytes"


def test_there_may_be_64_processes_and_no_more(tmp_path, monkeypatch):
    source = tmp_path / "in.jsonl"
    source.write_text(row(1), encoding="utf-8")
    monkeypatch.setattr(replace_files, "_replace_parts", lambda *arguments: None)
    for jobs, fine in ((1, True), (64, True), (0, False), (65, False)):
        if fine:
            replaced(source, jobs)
        else:
            with pytest.raises(UserError, match="not from 1 to 64"):
                replaced(source, jobs)


@pytest.mark.parametrize(
    ("name", "jobs", "parts"), [("in.jsonl", 2, 1), ("in.jsonl", 1, 0), ("in.jsonl.gz", 2, 0), ("packed.jsonl", 2, 0)]
)
def test_only_plain_files_are_cut_into_parts(tmp_path, monkeypatch, name, jobs, parts):
    import gzip

    cut = []
    monkeypatch.setattr(replace_files, "_replace_parts", lambda *arguments: cut.append(arguments))
    source = tmp_path / name
    source.write_bytes(row(1).encode() if name == "in.jsonl" else gzip.compress(row(1).encode()))
    replaced(source, jobs)
    assert len(cut) == parts


def test_a_file_is_cut_at_the_starts_of_lines(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"aaaa\n" * 6)
    assert _find_cuts(str(path), 3) == [0, 15, 25, 30] and _find_cuts(str(path), 1) == [0, 30]
    path.write_bytes(b"a" * 30)
    assert _find_cuts(str(path), 3) == [0, 30, 30, 30]


def test_an_error_of_a_part_is_moved_by_the_lines_before_it(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"a\n" * 700_000)
    for start, before in ((0, 0), (2, 1), (1_300_000, 650_000)):
        where = _shift_error((f"{path}:3:7", "what", "remedy"), str(path), start).where
        assert where == f"{path}:{before + 3}:7"
    assert _shift_error((str(path), "what", "remedy"), str(path), 10).where == str(path)


@pytest.mark.parametrize("kind", ["user", "disk", "died"])
def test_what_happens_to_a_process_is_told(tmp_path, monkeypatch, kind):
    import os

    source = tmp_path / "in.jsonl"
    source.write_text("".join(map(row, range(60))), encoding="utf-8")
    stream, parent = replace_files.replace_stream, os.getpid()

    def fail(*arguments):
        if os.getpid() == parent:
            return stream(*arguments)
        if kind == "died":
            os._exit(1)
        raise OSError(28, "No space left on device") if kind == "disk" else UserError(f"{source}:2", "what", "remedy")

    monkeypatch.setattr(replace_files, "replace_stream", fail)
    with pytest.raises(UserError) as told:
        replaced(source, 2)
    expected = {"user": "what", "disk": "No space left on device", "died": "a worker process died"}
    assert told.value.what == expected[kind]
