"""Places that a user accepts: lines of a report, with what stood there."""

from __future__ import annotations

import pytest

from lesson.core.messages import UserError
from lesson.data import accepted
from lesson.data.accepted import AcceptedPlaces


def places(tmp_path, text: str) -> AcceptedPlaces:
    path = tmp_path / "accept.txt"
    path.write_text(text, encoding="utf-8")
    return AcceptedPlaces(str(path))


def test_a_place_is_accepted_while_the_same_text_stands_there(tmp_path):
    told = places(
        tmp_path,
        "\ufeff# seen\n\nrows.jsonl:3: $.a[0].b\nC:\\x:7:12: $.c … 尖米 in 'it'\n7: $.c another\n9 $.d\n",
    )
    assert told.accepts(3, "$.a[0].b", "anything")
    assert told.accepts(7, "$.c", "尖米 in 'it'") and told.accepts(7, "$.c", "another")
    assert not told.accepts(7, "$.c", "else") and not told.accepts(12, "$.c", "another")
    assert not told.accepts(4, "$.a[0].b", "") and not told.accepts(3, "$.a", "")
    assert told.accepts(9, "$.d", "x")


@pytest.mark.parametrize("line", ["rows.jsonl:3", "rows.jsonl: $.a", "$.a", "x" * ((1 << 20) + 1)])
def test_a_line_without_a_place_is_told(tmp_path, line):
    with pytest.raises(UserError) as refused:
        places(tmp_path, f"# a\n3: $.a\n{line}\n")
    assert refused.value.where == f"{tmp_path}/accept.txt:3" and refused.value.what == "no place of a finding"


def test_there_are_so_many_places_and_no_more(tmp_path, monkeypatch):
    monkeypatch.setattr(accepted, "MOST_PLACES", 2)
    assert places(tmp_path, "1: $\n2: $\n").accepts(2, "$", "")
    with pytest.raises(UserError, match=":3"):
        places(tmp_path, "1: $\n2: $\n3: $\n")
