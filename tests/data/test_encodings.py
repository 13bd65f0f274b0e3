"""The encoding of a file, told from its beginning."""

from __future__ import annotations

import pytest

from lesson.data.encodings import detect_encoding

CHINESE = "你是谁？我是机智流，一个乐于助人的助手。" * 3
ROW = '{"input": "' + CHINESE + '"}\n'


@pytest.mark.parametrize(
    ("head", "encoding"),
    [
        (ROW.encode(), "utf-8"),
        (ROW.encode()[:-40], "utf-8"),  # the head of a file may end within a character
        (ROW.encode()[: len('{"input": "') + 1], "utf-8"),
        (b"plain", "utf-8"),
        (b"", "utf-8"),
        (ROW.encode("utf-16"), "utf-16"),
        (b"\xfe\xff" + ROW.encode("utf-16-be"), "utf-16"),
        (ROW.encode("utf-32"), "utf-32"),
        (b"\0\0\xfe\xff" + ROW.encode("utf-32-be"), "utf-32"),
        (ROW.encode("utf-16-le"), "utf-16-le"),
        (ROW.encode("utf-16-be"), "utf-16-be"),
        (b"\0\xd8\xd8\0\xd8\0", None),
        (b"{\0\0\xd8\0\xd8", None),
        (ROW.encode("gb18030"), "gb18030"),
        (ROW.translate({ord("机"): "機", ord("个"): "個"}).encode("big5hkscs", "ignore"), "big5hkscs"),
        (ROW.encode("gb18030") + ROW.encode(), None),  # some lines are UTF-8
        (ROW.encode() + ROW.encode("gb18030"), None),
        (b"{}\n" + ROW.encode("gb18030"), "gb18030"),  # plain ASCII says nothing
        (b"\xe4\xbd\n" + ROW.encode("gb18030"), "gb18030"),  # two bytes of three are no letter of UTF-8
        (b"ab\0" + ROW.encode("gb18030"), None),
        (b"\xff\xff\xff", None),
        ("Привет, как дела? ".encode("cp1251") * 3, None),
    ],
)
def test_the_encoding_that_fits(head, encoding):
    assert detect_encoding(head) == encoding


@pytest.mark.parametrize(("strange", "encoding"), [(1, "gb18030"), (2, None)])
def test_one_strange_letter_in_twenty_may_be(strange, encoding):
    head = ("㐀" + "字" * (19 - strange) + "я" * strange).encode("gb18030")  # the first is no Big5
    assert detect_encoding(head) == encoding
    assert detect_encoding(head + b"plain text" * 99) == encoding, "letters of ASCII count for neither side"


def test_a_nul_is_looked_for_in_the_first_two_thousand_bytes():
    head = "字".encode("gb18030") * 999
    assert detect_encoding(head + b"a\0") is None and detect_encoding(head + b"aa\0") == "gb18030"
