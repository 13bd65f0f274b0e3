"""Rows and configs checked where they change: for the pre-commit hooks and the GitHub Action (hooks/check calls it).

    python -m recipe.ci data|config [--since COMMIT] [--name NAME] [FILE…]

With --since, the files are those that differ from the commit, and FILE… are git's patterns for them (*.jsonl). Findings
go to the screen, on GitHub as annotations at their lines. Exit status: 0 no error (warnings are shown), 1 errors, 2 a
file or a commit that cannot be read. Nothing that is checked is run.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from lesson.config.check import check_config_file
from lesson.config.context import ConfigContext
from lesson.config.reading import LARGEST_SOURCE
from lesson.config.rules import ERROR
from lesson.core import cli
from lesson.core.findings import Findings, annotation, report_github, report_text
from lesson.core.messages import UserError, set_language, tr
from lesson.data.rows import open_bytes
from lesson.data.rules import ROW_RULES
from lesson.data.validate import Validator, validate_stream

PATTERNS = {"data": ["*.jsonl", "*.jsonl.gz", "*.jsonl.zst"], "config": ["*.py"]}
NOTHING = "0" * 40  # what GitHub calls the commit before the first push of a branch


def changed(since: str, patterns: Sequence[str]) -> list[str]:
    """The files below this folder that git knows, match a pattern and differ from `since`. Raises UserError."""
    known = since.strip("0") != ""
    command = ["diff", "--name-only", "--relative", "--no-renames", "--diff-filter=d", "-z", "--end-of-options", since]
    command = command if known else ["ls-files", "-z"]
    done = subprocess.run(["git", *command, "--", *patterns], capture_output=True)
    if done.returncode:
        said = (done.stderr.decode(errors="replace").strip().splitlines() or ["git"])[-1]
        raise UserError(
            f"--since {since}", said, tr("fetch it first (fetch-depth: 0)", "请先获取该提交（fetch-depth: 0）")
        )
    return [os.fsdecode(name) for name in done.stdout.split(b"\0") if name]


def is_config(path: str) -> bool:
    """Whether a Python file is a training config of XTuner, told by its text; it is never run."""
    if not os.path.isfile(path):
        return True  # the check says what is wrong with it
    with open(path, "rb") as file:
        text = file.read(LARGEST_SOURCE)
    return b"xtuner" in text and (b"train_dataloader" in text or b"SupervisedFinetune" in text)


def data(files: Sequence[str], names: list[str], github: bool) -> int:
    """Judge rows; gives back how many errors there are."""
    findings = Findings(ROW_RULES)
    for file in files:
        validator = Validator(file, findings, names, near=False)
        with open_bytes(file) as stream:
            validate_stream(stream, validator)
    (report_github if github else report_text)(findings, sys.stdout)
    return findings.errors


def config(files: Sequence[str], github: bool) -> int:
    """Judge configs by their text alone; gives back how many errors there are."""
    errors = 0
    for file in files:
        for finding in check_config_file(Path(file), ConfigContext(files=False)).findings:
            errors += finding.severity == ERROR
            said = f"{finding.found}; {finding.why}; {finding.remedy}"
            print(annotation(finding.severity, file, finding.rule, said, finding.line) if github else finding)
    return errors


def ci(options: argparse.Namespace) -> int:
    files = list(options.files)
    if options.since is not None:
        files = changed(options.since, files or PATTERNS[options.kind])
    if options.kind == "config":
        files = [file for file in files if is_config(file)]
    github = os.environ.get("GITHUB_ACTIONS") == "true"
    names = [options.name] if options.name else []
    errors = data(files, names, github) if options.kind == "data" else config(files, github)
    print(tr(f"{len(files)} files, {errors} errors", f"{len(files)} 个文件，{errors} 个错误"), file=sys.stderr)
    return 1 if errors else 0


def main(arguments: Sequence[str] | None = None) -> int:
    def call() -> int:
        parser = argparse.ArgumentParser(prog="python -m recipe.ci", description=__doc__.splitlines()[0])
        parser.add_argument("kind", choices=list(PATTERNS))
        parser.add_argument(
            "--since", default=None, metavar="COMMIT", help=tr("files changed since", "自该提交后的改动")
        )
        parser.add_argument("--name", default="", help=tr("what the assistant calls itself", "助手的自称"))
        parser.add_argument("--lang", default=None)
        parser.add_argument("files", nargs="*", metavar="FILE")
        options = parser.parse_intermixed_args(arguments)
        set_language(options.lang)
        return ci(options)

    return cli.guarded(call)
