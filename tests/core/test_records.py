"""Output and record appear as one, and what a user edited is not overwritten."""

from __future__ import annotations

import json

import pytest

from lesson.core import files
from lesson.core.files import sha256
from lesson.core.messages import UserError
from lesson.core.records import Record, announced_path, find_record, make_alone, read_record, record_path


def write(record: Record, text: str) -> None:
    with make_alone(record.output), record.write_file() as file:
        file.write(text)


def test_a_record_is_up_to_date_only_while_inputs_parameters_and_output_are_the_same(tmp_path):
    output = tmp_path / "out.txt"
    record = Record(output, {"in": "1"}, {"p": 1})
    assert not record.up_to_date()
    write(record, "made")
    assert record.up_to_date() and record.output_hash == sha256(output)
    assert not Record(output, {"in": "2"}, {"p": 1}).up_to_date()
    assert not Record(output, {"in": "1"}, {"p": 2}).up_to_date()
    output.write_text("edited")
    assert not record.up_to_date()


def test_an_edited_output_is_not_overwritten_without_force(tmp_path):
    output = tmp_path / "out.txt"
    record = Record(output, {}, {})
    record.guard(force=False)  # nothing there yet
    write(record, "made")
    record.guard(force=False)  # ours, unedited
    output.write_text("edited")
    with pytest.raises(UserError, match="FORCE=1"):
        record.guard(force=False)
    record.guard(force=True)
    record_path(output).unlink()
    with pytest.raises(UserError):
        record.guard(force=False)  # never ours


def test_a_block_that_fails_leaves_the_earlier_output_with_its_record(tmp_path):
    output = tmp_path / "out.txt"
    write(Record(output, {}, {"p": 1}), "made")
    with pytest.raises(RuntimeError), make_alone(output), Record(output, {}, {"p": 2}).write_file() as file:
        file.write("half")
        raise RuntimeError
    assert output.read_text() == "made" and Record(output, {}, {"p": 1}).up_to_date()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.txt", "out.txt.record.json"]


def test_an_announced_record_holds_only_for_the_output_that_it_describes(tmp_path):
    output = tmp_path / "out.txt"
    write(Record(output, {}, {"p": 1}), "first")
    old = record_path(output).read_text()
    write(Record(output, {}, {"p": 2}), "second")
    record_path(output).rename(announced_path(output))  # killed before the record got its name
    record_path(output).write_text(old)
    assert find_record(output)["parameters"] == {"p": 2}
    with make_alone(output):
        assert not announced_path(output).exists() and Record(output, {}, {"p": 2}).up_to_date()
    announced_path(output).write_text(old)  # killed before the output got its name: it never came
    assert find_record(output)["parameters"] == {"p": 2}
    with make_alone(output):
        assert not announced_path(output).exists() and Record(output, {}, {"p": 2}).up_to_date()


def test_an_announced_link_is_known_by_where_it_leads(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    link = tmp_path / "model"
    with make_alone(link):
        Record(link, {}, {}).write_link(tmp_path / "a", "hash of a")
    record_path(link).rename(announced_path(link))
    assert read_record(link, "", "output")["output"] == "hash of a"
    files.replace_link(link, tmp_path / "b")
    assert find_record(link) is None


@pytest.mark.parametrize("content", ["[]", "3", "null", "{}", '{"output": 5}', "{", "\ufeff{}", "[" * 100_000])
def test_a_record_of_the_wrong_shape_is_one_line(tmp_path, content):
    record_path(tmp_path / "model").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=r"model\.record\.json.*run make model"):
        read_record(tmp_path / "model", "run make model", "output")
    (tmp_path / "model").touch()
    record = Record(tmp_path / "model", {}, {})
    assert not record.up_to_date() and not record.has_same_parameters()


def test_what_killed_processes_left_goes_with_the_next_run(tmp_path):
    output = tmp_path / "adapter"
    for name in (".adapter.abcdefgh.tmp", ".adapter.record.json.abcdefgh.tmp", "..adapter.next.record.json.abc.tmp"):
        (tmp_path / name).mkdir() if name == ".adapter.abcdefgh.tmp" else (tmp_path / name).touch()
    (tmp_path / ".adapter.abcdefgh.tmp" / "weights").touch()
    (tmp_path / ".other.abcdefgh.tmp").touch()
    with make_alone(output):
        assert sorted(path.name for path in tmp_path.iterdir()) == [".adapter.lock", ".other.abcdefgh.tmp"]
    record = Record(output, {}, {})
    with make_alone(output), record.write_folder() as folder:
        (folder / "weights").touch()
        files.remove_left_files(tmp_path)  # another process looks meanwhile
        assert folder.is_dir(), "one that is being filled stays"
    assert json.loads(record_path(output).read_text())["output"] == files.hash_path(output)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter", "adapter.record.json"]
