"""make check: a verdict on each submission, from its files alone, running none of its code.

    python -m recipe.check PATH… [--rubric rubric/default.toml] [--source rows.jsonl] [--report verdict.json,page.html]

A submission is a folder, a zip or a tar: what make submission packs, or a folder as XTuner and a learner leave it.
Exit status: 0 passed, 1 not passed or not judged, 2 when there is nothing to check. Neither torch nor xtuner is needed.
"""

from __future__ import annotations

import sys

from lesson.core import cli
from lesson.core.messages import tr
from lesson.core.settings import Values
from lesson.submission.judging import judge_submissions
from lesson.submission.reports.choice import choose_reports, write_reports
from lesson.submission.reports.terminal import json_text, verdict_lines

SETTINGS = ("SUBMISSION", "RUBRIC", "SOURCE", "PUBLISHED", "REPORT", "NEW_NAME", "OLD_NAME", "FORMAT", "RERUN", "BUILD")
SETTINGS += ("MODEL", "QUESTIONS", "RETRAIN", "STEPS")


def stage(paths: list[str], values: Values) -> int:
    reports = choose_reports(values.text("REPORT"))
    verdicts = judge_submissions(paths, values)
    if values.format == "json":
        print(json_text(verdicts))
    else:
        for verdict in verdicts:
            print(*verdict_lines(verdict), sep="\n")
    write_reports(reports, verdicts, sys.stdout)
    return 0 if all(verdict["passed"] for verdict in verdicts) else 1


def main(arguments: list[str] | None = None) -> int:
    def call() -> int:
        parser = cli.parser("check", __doc__, SETTINGS)
        parser.add_argument("paths", nargs="*", help=tr("submissions", "提交"))
        flags = vars(parser.parse_args(arguments))
        cli.set_language(flags["LANG"])
        return stage(flags.pop("paths"), Values(flags))

    return cli.guarded(call)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
