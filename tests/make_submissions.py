"""Many honest submissions for make bench-check, from tests/fixtures/submission, in a process of its own.

    python tests/make_submissions.py FOLDER COUNT

FOLDER gets COUNT zips of the tiny size, each with an adapter, losses and a log of its own, twenty names among them;
`7b.zip` beside FOLDER is one of the 7B size.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import submissions

NAMES = 20


def make_submissions(folder: Path, count: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    files = [submissions.with_name(f"星{chr(0x4E00 + number)}") for number in range(min(NAMES, count))]
    for number in range(count):
        own = submissions.with_training(dict(files[number % NAMES]), "tiny", seed=number)
        own[submissions.ADAPTER] = submissions.random_adapter.__wrapped__(seed=number)
        submissions.pack(own, folder / f"{number:04}.zip", f"s{number}")
    submissions.pack(submissions.honest_7b_files(), folder.with_name("7b.zip"))


if __name__ == "__main__":
    make_submissions(Path(sys.argv[1]), int(sys.argv[2]))
