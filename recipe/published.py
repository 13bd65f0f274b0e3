"""Runs that are published: loss curves and fingerprints that nobody may hand in as their own.

    python -m recipe.published SUBMISSION… [--out golden/published]

writes one small file for each submission: curve, names, seed, hashes. The check `own` reads all of golden/loss (the
goldens that runs are held against) and golden/published, and the folder PUBLISHED=, say last year's submissions.
"""

from __future__ import annotations

import sys
from pathlib import Path

from lesson.core import cli
from lesson.core.messages import tr
from lesson.submission.published import FOLDERS, publish


def main(arguments: list[str] | None = None) -> int:
    def call() -> int:
        parser = cli.parser("published", __doc__, [])
        parser.add_argument("paths", nargs="+", metavar="SUBMISSION")
        parser.add_argument("--out", type=Path, default=FOLDERS[1])
        flags = parser.parse_args(arguments)
        cli.set_language(flags.LANG)
        for written in publish(flags.paths, flags.out):
            print(tr(f"written: {written}", f"已写出：{written}"))
        return 0

    return cli.guarded(call)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
