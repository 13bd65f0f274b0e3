"""make check-all: verdicts on a folder full of submissions, each in a process of its own, and who handed in the same.

    python -m recipe.check_all DIR [--jobs 2] [--report all.csv,all.json,all.html]

One that takes too long, too much memory or crashes the checker is reported as not judged, and the others go on.
Exit status: 0 all passed, 1 some did not, 2 when there is nothing to check.
"""

from __future__ import annotations

import sys

from lesson.core import cli
from lesson.core.settings import Values
from lesson.submission.batch import judge_folder, table_lines
from lesson.submission.reports.choice import choose_reports, write_reports

SETTINGS = ("DIR", "JOBS", "RUBRIC", "SOURCE", "PUBLISHED", "REPORT", "NEW_NAME", "OLD_NAME", "RERUN", "BUILD", "MODEL")
SETTINGS += ("QUESTIONS", "RETRAIN", "DRAW", "STEPS")


def stage(values: Values) -> int:
    reports = choose_reports(values.text("REPORT"))
    verdicts = judge_folder(values, progress=sys.stderr)
    print(*table_lines(verdicts), sep="\n")
    write_reports(reports, verdicts, sys.stdout)
    return 0 if all(verdict["passed"] for verdict in verdicts) else 1


def main(arguments: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments and not arguments[0].startswith("-"):
        arguments = ["--dir", *arguments]
    return cli.run("check_all", __doc__, SETTINGS, stage, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
