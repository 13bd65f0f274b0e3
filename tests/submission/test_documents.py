"""A JSON document of a submission: strict, of numbers that can be computed with, and each complaint says where."""

from __future__ import annotations

import pytest

from lesson.core.refusals import Broken
from lesson.submission.documents import find_long_integer, parse_document


def test_a_sound_document_is_its_value():
    assert parse_document(b'{"a": [1, "12345678901234567890123"]}', "x.json") == {
        "a": [1, "1" + "2345678901234567890123"]
    }


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'{"a": "\xff"}', "x.json: UTF-8"),
        (b'{"a": 1, "a": 2}', r"x.json: \$\.a "),
        (b"{", "x.json: "),
        (b'{"a": [0, 18446744073709551616]}', r"x.json: \$\.a\[1\]: an integer of more than 64 bits"),
        (b"-18446744073709551616", r"x.json: \$: an integer"),
    ],
)
def test_a_broken_document_says_where(data, said):
    with pytest.raises(Broken, match=f"^{said}"):
        parse_document(data, "x.json")


def test_the_largest_integer_has_64_bits():
    assert parse_document(b"[18446744073709551615]", "x") == [2**64 - 1]
    assert find_long_integer({"a": [2**64 - 1, -(2**64) + 1, 1e300, "x"]}) is None
    assert find_long_integer([{}, {"b": -(2**64)}]) == "$[1].b"


def test_a_document_is_held_against_its_schema():
    with pytest.raises(Broken, match=r"^x: \$"):
        parse_document(b"{}", "x", "submission")


@pytest.mark.parametrize("number", [2**64, 2**64 + 1, 2**65, -(2**64), -(2**70), 10**30])
def test_every_integer_of_more_than_64_bits_is_too_large(number):
    assert find_long_integer({"a": [1, {"b": number}]}) == "$.a[1].b"
    assert find_long_integer({"a": 2**64 - 1, "b": [1 - 2**64]}) is None
