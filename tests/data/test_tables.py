"""Rows in a table: each at its line, also behind cells of several lines."""

from __future__ import annotations

import io
import zipfile

import openpyxl
import pytest

from lesson.core.messages import UserError
from lesson.data import tables
from lesson.data.rows import LONGEST_LINE
from lesson.data.tables import LARGEST_UNPACKED, find_delimiter, read_csv, read_excel

HEADER = "instruction,output\n"


def test_a_row_stands_where_it_begins():
    found = list(read_csv(HEADER + 'a,b\n"c\nd",e\nf,g\n', ",", "x.csv"))
    assert [(line, list(cells.values())) for line, cells in found] == [
        (2, ["a", "b"]),
        (3, ["c\nd", "e"]),
        (5, ["f", "g"]),
    ]


def test_a_cell_that_is_too_long_is_told_at_its_line():
    with pytest.raises(UserError) as refused:
        list(read_csv(f"{HEADER}a,b\nc,{'d' * (LONGEST_LINE + 1)}\n", ",", "x.csv"))
    assert refused.value.where == "x.csv:3"


@pytest.mark.parametrize(
    ("head", "name", "delimiter"),
    [
        ("question,answer\n", "", ","),
        ("\ufeff\n question\tanswer\n", "", "\t"),
        ("question;answer", "", ";"),
        ("question|answer\r\na|b", "", "|"),
        ("a,b\n", "", None),
        ("a,b\n", "x.csv", ","),
        ("a;b;c,d\n", "X.CSV", ";"),
        ("a\tb\n", "x.tsv", "\t"),
        ("ab\n", "x.csv", ","),
        ("ab\n", "x.txt", None),
        ('{"question","answer"', "x.csv", None),
        ("[question,answer", "x.csv", None),
        ("question," + "x" * 9_984 + ",answer", "", ","),  # the last letter of a header's ten thousand
        ("question," + "x" * 9_985 + ",answer", "", None),
        ('question,answer,"\0', "", ","),
        ("", "", None),
    ],
)
def test_a_table_is_told_by_its_first_line(head, name, delimiter):
    assert find_delimiter(head, name) == delimiter


def excel(*sheets: list[list[object]]) -> bytes:
    book, out = openpyxl.Workbook(), io.BytesIO()
    book.remove(book.active)
    for rows in sheets:
        sheet = book.create_sheet()
        for row in rows:
            sheet.append(row)
    book.save(out)
    return out.getvalue()


PAIR = [["question", "answer"], ["a", "b"], ["c", "d"]]
NOTES = [["note", "by"], ["x", "y"], ["z", "question"]]
LATE = [["question", "note"], ["x", "y"], ["question", "answer"]]


def read(*sheets: list[list[object]]) -> list[tuple[int, dict]]:
    return list(read_excel(excel(*sheets), "x.xlsx"))


def test_sheets_with_a_question_and_an_answer_are_read_all_of_them_or_the_first():
    pair = [(2, {"question": "a", "answer": "b"}), (3, {"question": "c", "answer": "d"})]
    assert read(PAIR) == pair and read(PAIR, PAIR) == pair * 2 == read(PAIR, NOTES, PAIR) == read([], PAIR, PAIR)
    notes = [(2, {"note": "x", "by": "y"}), (3, {"note": "z", "by": "question"})]
    assert read(NOTES, LATE) == notes == read([], NOTES) and read([]) == []
    assert read([["note"]], PAIR) == pair, "a sheet with nothing but a head has no rows"


def test_the_names_stand_in_the_first_row_with_text_and_numbers_as_excel_shows_them():
    rows = read([[], [" question ", None, "answer"], [None, " "], [1, 2.0, 2.5], ["a", "more", True, "x"], ["b"]])
    assert rows == [
        (4, {"question": "1", "": "2", "answer": "2.5"}),
        (5, {"question": "a", "": "x", "answer": "True"}),
        (6, {"question": "b", "answer": ""}),
    ]


def test_columns_beyond_the_sixty_fourth_are_left_out():
    names = ["question", "answer", *(f"c{n}" for n in range(62)), "late"]
    [(_, cells)] = read([names, ["a", "b", *["x"] * 63]])
    assert len(cells) == 64 and "late" not in cells and cells["c61"] == "x"


def test_what_is_no_excel_file_or_unpacks_too_far_is_refused(monkeypatch):
    with pytest.raises(UserError, match="not an Excel file"):
        list(read_excel(b"PK\x03\x04", "x.xlsx"))
    assert LARGEST_UNPACKED == 64 * 1024 * 1024
    data = excel(PAIR)
    size = sum(part.file_size for part in zipfile.ZipFile(io.BytesIO(data)).infolist())
    monkeypatch.setattr(tables, "LARGEST_UNPACKED", size)
    assert len(list(read_excel(data, "x.xlsx"))) == 2
    monkeypatch.setattr(tables, "LARGEST_UNPACKED", size - 1)
    with pytest.raises(UserError, match="unpacks to more than 64 MiB"):
        list(read_excel(data, "x.xlsx"))


def test_a_formula_is_read_as_the_value_that_excel_kept_and_not_as_its_text():
    assert read([["question", "answer"], ["a", "=1+1"], ["=A2", "b"]]) == [
        (2, {"question": "a", "answer": ""}),
        (3, {"question": "", "answer": "b"}),
    ]
