"""The rows as a person reads them; what needs a tokenizer is in tests/whole/."""

from __future__ import annotations

import pytest

from lesson.core.messages import UserError
from lesson.core.settings import Values
from lesson.evaluation.preview import preview_rows, show_controls, show_texts


def test_control_characters_are_shown_and_not_sent_to_the_terminal():
    assert show_controls("a\x1b[31mb\tc") == "a\\x1b[31mb\tc"
    assert show_controls("a\nb", "\n  ") == "a\n  b"


def test_a_row_shows_what_it_has_of_each_turn():
    row = {"conversation": [{"system": "s", "input": "i", "output": "o"}, {"input": "j", "output": "p\nq"}]}
    lines = list(show_texts([row]))
    assert lines[0] == "\n[1]"
    assert lines[1:] == ["  system  s", "  input   i", "  output  o", "  input   j", "  output  p\n          q"]


def test_without_a_base_model_the_texts_come_first_and_then_the_error(tmp_path):
    lines = preview_rows(Values({"BUILD": str(tmp_path), "ROWS": "1"}, {}))
    assert next(lines).endswith(", the first 1 rows")
    with pytest.raises(UserError, match="run make model"):
        list(lines)
