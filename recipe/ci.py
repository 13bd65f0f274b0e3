"""Rows and configs checked where they change: for the pre-commit hooks and the GitHub Action (hooks/check calls it).

    python -m recipe.ci data|config [--since COMMIT] [--name NAME] [FILE…]

With --since, the files are those that differ from the commit, and FILE… are git's patterns for them (*.jsonl). After a
force push they differ from where the branches part, or are all. Links out of the repository are errors, not followed.
Findings go to the screen, on GitHub as annotations at their lines. Exit status: 0 no error (warnings are shown), 1
errors, 2 a file or a commit that cannot be read. Nothing that is checked is run.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from lesson.core import cli
from lesson.core.findings import ERROR, report_github, report_text
from lesson.core.messages import tr
from lesson.submission.ci import PATTERNS, check_configs, check_rows, config_line, refused_line, select_files


def stage(options: argparse.Namespace) -> int:
    selection = select_files(options.kind, options.files, options.since)
    files, errors = selection.files, len(selection.refused)
    github = os.environ.get("GITHUB_ACTIONS") == "true"
    for file, why in selection.refused:
        print(refused_line(file, why, github))
    if options.kind == "data":
        findings = check_rows(files, [options.name] if options.name else [])
        (report_github if github else report_text)(findings, sys.stdout)
        errors += findings.errors
    else:
        for file, finding in check_configs(files):
            errors += finding.severity == ERROR
            print(config_line(file, finding, github))
    print(selection.note, end="\n" if selection.note else "", file=sys.stderr)
    print(tr(f"{len(files)} files, {errors} errors", f"{len(files)} 个文件，{errors} 个错误"), file=sys.stderr)
    return 1 if errors else 0


def main(arguments: Sequence[str] | None = None) -> int:
    def call() -> int:
        parser = argparse.ArgumentParser(prog="python -m recipe.ci", description=__doc__.splitlines()[0])
        parser.add_argument("kind", choices=list(PATTERNS))
        parser.add_argument("--since", metavar="COMMIT", help=tr("files changed since", "自该提交后的改动"))
        parser.add_argument("--name", default="", help=tr("what the assistant calls itself", "助手的自称"))
        parser.add_argument("--lang", default=None)
        parser.add_argument("files", nargs="*", metavar="FILE")
        options = parser.parse_intermixed_args(arguments)
        cli.set_language(options.lang)
        return stage(options)

    return cli.guarded(call)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
