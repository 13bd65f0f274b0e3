"""Text as it is shown, measured and compared."""

from __future__ import annotations

import unicodedata

SHOWN = 60  # characters of what was found that a message shows


def shorten(text: str) -> str:
    """`text` on one line, printable and at most SHOWN characters."""
    cut = text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
    return cut if cut.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in cut)


def fold_text(text: str) -> str:
    """Text for comparison: compatibility forms, case, white space and punctuation folded away."""
    text = unicodedata.normalize("NFKC", text).casefold()
    return "".join(c for c in text if unicodedata.category(c)[0] not in "PZC")


def display_width(text: str) -> int:
    """Columns that `text` takes on a terminal: wide characters take two."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def is_unicode(text: str) -> bool:
    """Whether UTF-8 can hold the text: JSON's "\\ud800" alone gives a string that nothing can write."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
