"""The lines of a text file of a submission, under limits."""

from __future__ import annotations

from collections.abc import Iterator

from lesson.core.messages import tr
from lesson.core.refusals import Broken, Unreadable
from lesson.data import rows
from lesson.submission.archive.view import View


def read_text_lines(view: View, name: str, most: int) -> Iterator[tuple[int, bytes]]:
    """(number, line) of a text file. Raises Broken for too long a line, or more than `most` of them."""
    try:
        with view.open(name) as stream:
            for number, line in rows.read_lines(stream):
                if line is None:
                    found = tr(f"a line of more than {rows.LONGEST_LINE} bytes", f"一行超过 {rows.LONGEST_LINE} 字节")
                    raise Broken(f"{name}:{number}: {found}")
                if number > most:
                    raise Broken(tr(f"{name}: more than {most} lines", f"{name}：超过 {most} 行"))
                yield number, line
    except Unreadable as error:
        raise Broken(str(error)) from None
