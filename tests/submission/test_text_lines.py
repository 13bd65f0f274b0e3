"""The lines of a submission's text file, up to the limits and no further."""

from __future__ import annotations

import io

import pytest

from lesson.core.refusals import Broken
from lesson.data.rows import LONGEST_LINE
from lesson.submission.archive.view import View
from lesson.submission.text_lines import read_text_lines


def lines(data: bytes, most: int) -> list[tuple[int, bytes]]:
    view = View()
    view.add_file("x", len(data), lambda: io.BytesIO(data))
    return [(number, line.rstrip(b"\n")) for number, line in read_text_lines(view, "x", most)]


def test_as_many_lines_as_allowed_are_read_and_one_more_is_refused():
    assert lines(b"a\n\nb", 3) == [(1, b"a"), (2, b""), (3, b"b")]
    with pytest.raises(Broken, match="x: more than 2 lines"):
        lines(b"a\n\nb", 2)


def test_too_long_a_line_is_named():
    with pytest.raises(Broken, match=rf"x:2: a line of more than {LONGEST_LINE} bytes"):
        lines(b"a\n" + b"b" * (LONGEST_LINE + 1) + b"\n", 9)


def test_a_damaged_file_is_told():
    view = View()
    view.add_file("x", 1, lambda: (_ for _ in ()).throw(EOFError("cut")))
    with pytest.raises(Broken, match="x: cut"):
        list(read_text_lines(view, "x", 1))
