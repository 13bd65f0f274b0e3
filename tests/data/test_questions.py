"""Questions that a user names in a file."""

from __future__ import annotations

import pytest

from lesson.core.messages import UserError
from lesson.data import questions
from lesson.data.questions import MOST_QUESTIONS as MOST
from lesson.data.questions import read_question_file


def test_lines_and_json_lines_give_their_distinct_questions(tmp_path):
    path = tmp_path / "q.txt"
    text = "\ufeff你是谁？\n\n  Who are you?  \n你是谁？\n"
    text += '{"input": "a"}\n{"question": " b "}\n{"conversation": [{"input": "c"}, {"input": "d"}]}\n'
    path.write_text(text, encoding="utf-8")
    assert read_question_file(str(path)) == ["你是谁？", "Who are you?", "a", "b", "c"]


@pytest.mark.parametrize(
    ("data", "where", "what"),
    [
        (b"\n \n", "q.txt", "no questions"),
        (b"a\n\xff\n", "q.txt:2", "not UTF-8"),
        (b"a\n" + b"b" * ((1 << 20) + 1), "q.txt:2", "more than 1 MiB"),
        (b'a\n{"input": 3}\n', "q.txt:2", "neither input nor question"),
        (b'{"input": \n', "q.txt:1", ""),
    ],
)
def test_what_is_no_question_is_told_at_its_line(tmp_path, data, where, what):
    path = tmp_path / "q.txt"
    path.write_bytes(data)
    with pytest.raises(UserError) as refused:
        read_question_file(str(path))
    assert str(refused.value.where).endswith(where) and what in refused.value.what


def test_a_row_s_own_question_counts_and_a_mark_only_at_the_start(tmp_path):
    path = tmp_path / "q.txt"
    path.write_bytes('{"conversation": [], "input": "a"}\n{"conversation": [3], "question": "b"}\n\ufeffc\n'.encode())
    assert read_question_file(str(path)) == ["a", "b", "\ufeffc"]
    path.write_bytes('\ufeff{"conversation": "x", "input": "a", "question": "b"}'.encode())
    assert read_question_file(str(path)) == ["a"]


@pytest.mark.parametrize(
    "row", ['{"input": "a", "input": "b"}', '{"input": NaN}', '{"conversation": [{"output": "x"}]}']
)
def test_a_row_with_a_problem_is_refused(tmp_path, row):
    path = tmp_path / "q.txt"
    path.write_text(f"a\n\n{row}\n")
    with pytest.raises(UserError, match=r"q\.txt:3"):
        read_question_file(str(path))


def test_there_are_so_many_questions_and_no_more(tmp_path, monkeypatch):
    monkeypatch.setattr(questions, "MOST_QUESTIONS", 3)
    path = tmp_path / "q.txt"
    path.write_text("a\nb\nc\na\n")
    assert len(read_question_file(str(path))) == 3
    path.write_text("a\nb\nc\nd\n")
    with pytest.raises(UserError, match="more than 3 questions"):
        read_question_file(str(path))
    assert MOST == 1_000_000
