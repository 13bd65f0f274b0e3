"""make bump VERSION=x.y.z: move what is unreleased in CHANGELOG.md to that version, set it in pyproject.toml, show the notes.

It neither commits nor tags: the git commands to type stand below the notes, which are also in BUILD/notes-VERSION.md.
"""

from __future__ import annotations

import datetime
import sys

from lesson.core import cli
from lesson.core.settings import ROOT, Values
from lesson.install.release import bump_version, lines_of

SETTINGS = ("PROFILE", "BUILD", "VERSION")


def stage(values: Values) -> int:
    today = datetime.datetime.now(datetime.UTC).date()
    print(*lines_of(bump_version(ROOT, values.text("VERSION"), today, values.build)), sep="\n")
    return 0


def main(arguments: list[str]) -> int:
    return cli.run("bump", __doc__, SETTINGS, stage, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
