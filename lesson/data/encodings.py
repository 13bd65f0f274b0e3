"""Which encoding a file is in, told from its beginning."""

from __future__ import annotations

import codecs

UTF_8 = "utf-8"
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Letters that Chinese text has few of, and that other encodings than the right one make many of.
_STRANGE = (("\u0370", "\u04ff"), ("\u3040", "\u30ff"), ("\u3105", "\u312f"), ("\ue000", "\uf8ff"))


def detect_encoding(head: bytes) -> str | None:
    """The name of the encoding (as Python calls it) of a file that begins so; None where none fits, or several do.

    UTF-8 is where all that is complete can be decoded. A file of which only some lines can be has no one encoding.
    """
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name
    if b"\0" in head[:2]:  # rows and tables begin with a character of ASCII
        name = "utf-16-le" if head[1:2] == b"\0" else "utf-16-be"
        return name if _decodes(head, name) else None
    if _decodes(head, UTF_8):
        return UTF_8
    if b"\0" in head[:2000] or any(
        _has_letters(line) and _decodes(line, UTF_8, True) for line in head.split(b"\n")[:-1]
    ):
        return None
    fitting = [name for name in ("gb18030", "big5hkscs") if _decodes(head, name)]
    fitting = [name for name in fitting if not _looks_strange(head, name)]
    return fitting[0] if fitting else None


def _decodes(data: bytes, encoding: str, final: bool = False) -> bool:
    try:
        codecs.getincrementaldecoder(encoding)().decode(data, final)
    except UnicodeDecodeError:
        return False
    return True


def _has_letters(line: bytes) -> bool:
    return not line.isascii()


def _looks_strange(head: bytes, encoding: str) -> bool:
    """Whether more than one in twenty of the letters beyond ASCII are such as Chinese text has few of."""
    text = codecs.getincrementaldecoder(encoding)().decode(head)
    letters = [c for c in text if c > "\x7f"]
    strange = sum(any(low <= c <= high for low, high in _STRANGE) for c in letters)
    return strange * 20 > len(letters)
