"""Multiple-choice questions are read in the forms in which they are published; whatever else a file holds is told with its
place."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lesson.core.messages import UserError
from lesson.core.settings import ROOT
from lesson.evaluation import choice_files
from lesson.evaluation.choice_files import (
    ChoiceQuestion,
    Unsuitable,
    parse_question,
    read_choice_sets,
    read_questions,
)

FOLDER = ROOT / "tests" / "fixtures" / "choices"
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=40).filter(
    lambda text: text.strip() == text
)
QUESTIONS = st.tuples(TEXTS, st.lists(TEXTS, min_size=4, max_size=4), st.integers(0, 3))


def arc(text: str = "Why?", options=("a", "b"), key: str = "A") -> dict:
    choices = [{"text": option, "label": label} for option, label in zip(options, "ABCDE", strict=False)]
    return {"question": {"stem": text, "choices": choices}, "answerKey": key}


def hugging_face(text: str, options: list[str], key: str) -> dict:
    return {"question": text, "choices": {"text": options, "label": list("ABCD")}, "answerKey": key}


def columns(text: str = "Why?", options=("a", "b", "c", "d"), key: str = "A") -> dict:
    return {"id": "0", "question": text, **dict(zip("ABCD", options, strict=True)), "answer": key}


def refused(tmp_path, text: str | bytes, name: str = "set.jsonl") -> str:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError) as error:
        list(read_questions(path))
    return str(error.value).removeprefix(str(path))


def test_the_four_published_forms_are_read():
    science, science_hf, subjects = read_choice_sets(
        f"{FOLDER}/science-allenai.jsonl,{FOLDER}/science-hf.jsonl, {FOLDER}/subjects", 100
    )
    assert [q.answer for q in science.questions] == [0, 1, 2] and science.rule == "text" and not science.chinese
    assert science.questions[1] == ChoiceQuestion(
        "What force pulls a dropped ball to the ground?",
        ("magnetism", "gravity", "friction"),
        1,
        "text",
        f"{FOLDER}/science-allenai.jsonl",
        2,
    )
    assert [(len(q.options), q.answer) for q in science_hf.questions] == [(4, 1), (5, 0), (4, 3)]
    assert [(q.file.rpartition("/")[2], q.line, q.answer) for q in subjects.questions] == [
        ("calendar.csv", 2, 2),
        ("calendar.csv", 3, 0),
        ("geography_dev.csv", 2, 0),
        ("geography_dev.csv", 4, 3),
    ]
    assert subjects.rule == "letter" and subjects.chinese and subjects.name == "choices/subjects"
    assert subjects.questions[1].options == ("早晨", "中午", "", "半夜")


def test_a_folder_is_one_set_for_each_folder_below_it_and_files_twice_are_read_once(tmp_path):
    for name in ("c-eval/val/x_val.csv", "c-eval/dev/x_dev.csv", "c-eval/.cache/y.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("id,question,A,B,C,D,answer\n0,q,1,2,3,4,D\n", encoding="utf-8")
    (tmp_path / "c-eval" / "val" / "README.md").write_text("x", encoding="utf-8")
    (tmp_path / "arc").mkdir()
    (tmp_path / "arc" / "Easy.jsonl").write_text(json.dumps(arc()), encoding="utf-8")
    (tmp_path / "arc" / "Easy.csv").write_text("questionID,AnswerKey\n1,A\n", encoding="utf-8")
    found = read_choice_sets(f"{tmp_path}/c-eval,{tmp_path}/arc", 10)
    assert [(s.name, s.found) for s in found] == [("c-eval/dev", 1), ("c-eval/val", 1), (f"{tmp_path.name}/arc", 1)]


def test_a_path_with_a_comma_in_its_name_is_one_path_and_sets_of_one_name_are_told_apart(tmp_path):
    for folder in ("a, b", "c"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.jsonl").write_text(json.dumps(arc()), encoding="utf-8")
    assert [s.name for s in read_choice_sets(f"{tmp_path}/a, b", 10)] == [f"{tmp_path.name}/a, b"]
    (tmp_path / "x.jsonl").write_text(json.dumps(arc()), encoding="utf-8")
    names = [s.name for s in read_choice_sets(f"{tmp_path}/x.jsonl,{tmp_path}/c/x.jsonl", 10)]
    assert names == ["x.jsonl", "x.jsonl (2)"]


def test_questions_of_both_kinds_in_one_folder_are_counted_apart(tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps(arc()) + "\n" + json.dumps(columns()), encoding="utf-8")
    found = read_choice_sets(str(tmp_path), 10)
    assert [s.name for s in found] == [
        f"{tmp_path.parent.name}/{tmp_path.name} ({rule})" for rule in ("text", "letter")
    ]


def test_the_sample_is_the_same_each_time_and_not_the_beginning(tmp_path):
    path = tmp_path / "many.jsonl"
    path.write_text("\n".join(json.dumps(arc(f"question {i}")) for i in range(100)), encoding="utf-8")
    (one,), (two,), (all_,) = (read_choice_sets(str(path), limit) for limit in (20, 20, 100))
    lines = [q.line for q in one.questions]
    assert one == two and one.found == 100 and len(set(lines)) == 20 and lines == sorted(lines) and lines[-1] > 60
    assert [q.line for q in all_.questions] == list(range(1, 101))


@given(QUESTIONS)
def test_a_question_is_the_same_in_each_form(question):
    text, options, answer = question
    key = "ABCD"[answer]
    as_text = (text, tuple(options), answer, "text")
    assert parse_question(arc(text, options, key)) == parse_question(hugging_face(text, options, key)) == as_text
    as_letter = (text, tuple(options), answer, "letter")
    assert parse_question(columns(text, options, key)) == as_letter
    assert parse_question({name.title(): cell for name, cell in columns(text, options, key).items()}) == as_letter


@given(st.lists(QUESTIONS, min_size=1, max_size=5))
def test_what_the_csv_module_writes_is_read_back(questions):
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(["", "Question", *"ABCD", "Answer"])
    writer.writerows([i, text, *options, "ABCD"[answer]] for i, (text, options, answer) in enumerate(questions))
    rows = choice_files.read_bytes(file.getvalue().encode(), "x.csv", "x.csv")
    found = [parse_question(row.value)[:3] for row in rows]
    assert found == [(text, tuple(options), answer) for text, options, answer in questions]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["question", "choices", "stem", "text", "label", "answerKey", "answer", "A", "b", "C", "D"]
            ),
            inner,
            max_size=8,
        )
    ),
    max_leaves=20,
)


@given(JSON)
def test_any_row_is_a_question_with_one_right_answer_or_refused_with_a_place(row):
    try:
        text, options, answer, _ = parse_question(row)
    except Unsuitable as wrong:
        assert ": " in str(wrong)
    else:
        assert text.strip() and len(options) >= 2 and 0 <= answer < len(options)


@pytest.mark.parametrize(
    ("row", "place"),
    [
        ([], "$: not an object"),
        ({"a": 1}, "columns: no question, but a"),
        (arc(""), "$.question.stem: empty"),
        (arc(options=("a", " ")), "$.question.choices[1].text: empty"),
        (arc(options=("a",)), "$.question.choices: 1 options, not 2 to 26"),
        (arc(key="C"), "$.answerKey: 'C', which is none of A, B"),
        (arc(key=None), "$.answerKey: not a text"),
        ({"question": {"stem": "q", "choices": "ab"}, "answerKey": "A"}, "$.question.choices: not the choices"),
        ({"question": "q", "choices": {"text": ["a", "b"], "label": ["A"]}, "answerKey": "A"}, "$.choices: no lists"),
        ({"question": "q", "choices": {"text": ["a", "b"], "label": ["A", "A"]}, "answerKey": "A"}, "a label twice"),
        ({"question": "q", "choices": [1, 2], "answerKey": "A"}, "$.choices: not the choices of a question"),
        (columns(key="E"), "answer: 'E', which is none of A, B, C, D"),
        (columns(options=("", "", "", "d")), "A: fewer than two options"),
        (columns() | {"Answer": "A"}, "Answer: a column twice"),
        (columns("x" * 20_000), "$: more than 20000 characters"),
    ],
)
def test_a_row_that_is_no_question_is_refused_with_line_and_place(tmp_path, row, place):
    found = refused(tmp_path, json.dumps(arc()) + "\n\n" + json.dumps(row))
    assert found.startswith(":3: ") and place in found


def test_hostile_files_are_refused_with_a_place(tmp_path, monkeypatch):
    assert refused(tmp_path, '{"question": "q", "question": "r"}').startswith(
        ":1: $.question: the key 'question' again"
    )
    assert refused(tmp_path, json.dumps(arc()) + "\n{").startswith(":2: JSON: Expecting property name")
    assert refused(tmp_path, "[" * 100_000).startswith(":1: JSON: more than 64 levels")
    assert refused(tmp_path, b'{"question": "\xff"}').startswith(":1: JSON: the byte 0xff")
    assert refused(tmp_path, '{"question": "\\ud800"}').startswith(":1: $.question: \\ud800")
    assert refused(tmp_path, b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR").startswith(": not text")
    assert refused(tmp_path, "").startswith(": the file is empty")
    assert refused(tmp_path, "\n\n").startswith(": no question in it")
    test_split = refused(tmp_path, "id,question,A,B,C,D\n0,q,1,2,3,4\n", "x_test.csv")
    assert test_split.startswith(
        ":2: columns: no answer, but id, question, A, B, C, D; C-Eval's test files have no answers"
    )
    assert refused(tmp_path, 'id,question,A,B,C,D,answer\n0,q,1, "2,3",4,5,A\n', "x.csv").startswith(":2: answer: '5'")
    assert refused(tmp_path, 'id,question,A,B,C,D,answer\n0,"' + "q" * (2 << 20), "x.csv").startswith(":2: CSV: ")
    monkeypatch.setattr(choice_files, "LARGEST_DOCUMENT", 100)
    assert refused(tmp_path, "\n" * 101).startswith(": more than 64 MiB")


def test_more_than_an_evaluation_can_ask_is_refused_before_a_model_is_loaded(tmp_path, monkeypatch):
    for i in range(3):
        (tmp_path / str(i)).mkdir()
        (tmp_path / str(i) / "x.jsonl").write_text(json.dumps(arc()), encoding="utf-8")

    def said(paths: str) -> str:
        with pytest.raises(UserError) as error:
            read_choice_sets(paths, 10)
        return str(error.value)

    (tmp_path / "none").mkdir()
    assert "no .jsonl and no .csv in it" in said(f"{tmp_path}/none")
    assert "no such file" in said(f"{tmp_path}/0/x.jsonl,{tmp_path}/gone.csv")
    assert "names no file" in said(" , ")
    monkeypatch.setattr(choice_files, "MOST_SETS", 2)
    assert "3 sets, at most 2 are asked; name fewer" in said(str(tmp_path))
    monkeypatch.setattr(choice_files, "MOST_FILES", 1)
    assert "more than 1 files" in said(str(tmp_path))
    monkeypatch.setattr(choice_files, "MOST_QUESTIONS", 0)
    assert "CHOICES: x.jsonl: more than 0 questions" in said(f"{tmp_path}/0/x.jsonl")
