"""Rows in a table: each at its line, also behind cells of several lines."""

from __future__ import annotations

import pytest

from lesson.core.messages import UserError
from lesson.data.rows import LONGEST_LINE
from lesson.data.tables import read_csv

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
