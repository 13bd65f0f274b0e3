"""Places that a user has looked at and accepts: lines of the report of make data, kept in a file (ACCEPT=)."""

from __future__ import annotations

import re

from lesson.core.messages import UserError, tr
from lesson.data.rows import open_bytes, read_lines

MOST_PLACES = 100_000
# FILE:LINE: PATH or FILE:LINE:COLUMN: PATH, perhaps with the rest of the finding behind it; FILE may hold colons.
_PLACE = re.compile(r"(?:.*?:)?(\d+)(?::\d+)?:? (\$\S*)(?: (.*))?")


class AcceptedPlaces:
    """The places in the file `path`, one a line; blank lines and lines that begin with # count for nothing.

    A line is `FILE:LINE: PATH`, best with all that the report says behind it: then the place is accepted only while the
    same text stands there. Raises UserError for a file that cannot be read, or a line without a place.
    """

    def __init__(self, path: str) -> None:
        self._places: dict[tuple[int, str], list[str]] = {}
        remedy = tr("copy lines of the report as they are: FILE:LINE: PATH …", "请照抄报告中的行：文件:行号: 路径 …")
        with open_bytes(path, tr("set ACCEPT to a file of places", "请把 ACCEPT 设为位置文件")) as stream:
            for number, raw in read_lines(stream):
                line = (b"?" if raw is None else raw).decode(errors="replace").removeprefix("\ufeff").strip()
                if not line or line.startswith("#"):
                    continue
                match = _PLACE.fullmatch(line)
                if match is None or len(self._places) >= MOST_PLACES:
                    raise UserError(f"{path}:{number}", tr("no place of a finding", "不是发现的位置"), remedy)
                self._places.setdefault((int(match[1]), match[2]), []).append(match[3] or "")

    def accepts(self, line: int, path: str, near: str) -> bool:
        """Whether the user accepts what was found there; `near` is the text around it as the report shows it."""
        rests = self._places.get((line, path), ())
        return any(near in rest or not rest for rest in rests)
