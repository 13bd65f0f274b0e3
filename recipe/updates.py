"""make updates: newer versions of the packages that requirements*.in name, by `pip index versions`; nothing is changed.

Exit status 2 where the index did not answer for a package.
"""

from __future__ import annotations

import sys

from lesson.core import cli
from lesson.core.settings import Values
from lesson.install.updates import find_updates, lines_of, read_locked


def stage(values: Values) -> int:
    answers = find_updates(read_locked())
    print(*lines_of(answers), sep="\n")
    return 2 if any(answer.problem for answer in answers) else 0


def main(arguments: list[str]) -> int:
    return cli.run("updates", __doc__, (), stage, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
