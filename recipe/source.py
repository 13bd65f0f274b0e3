"""Write data/assistant_Tuner.jsonl, the source rows of the course, from the text banks in data/banks.

Every row teaches the old name 尖米 (most of them) or keeps a piece of general knowledge (so that fine-tuning does not
cost it). The file is the same, byte for byte, each time. Names are changed by plain replacement later, so each sentence
has to read well with any name in it.
"""

from __future__ import annotations

import sys

from lesson.authoring.course_rows import SOURCE, write_course_rows
from lesson.core import cli
from lesson.core.messages import tr
from lesson.core.settings import ROOT, Values


def stage(values: Values) -> int:
    count = write_course_rows()
    name = SOURCE.relative_to(ROOT)
    print(tr(f"{name}: {count} rows", f"{name}：{count} 行"))
    return 0


def main(arguments: list[str] | None = None) -> int:
    return cli.run("source", __doc__, [], stage, sys.argv[1:] if arguments is None else arguments)


if __name__ == "__main__":
    sys.exit(main())
