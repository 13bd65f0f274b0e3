"""Rows and configs checked where they change, for the pre-commit hooks and the GitHub Action. Nothing of them is run."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from lesson.config.check import ConfigFinding, check_config_file
from lesson.config.context import ConfigContext
from lesson.config.reading import LARGEST_SOURCE
from lesson.core.findings import Findings, format_annotation
from lesson.core.messages import UserError, tr
from lesson.data.rows import open_bytes
from lesson.data.rules import ROW_RULES
from lesson.data.validator import Validator, validate_stream

PATTERNS = {"data": ["*.jsonl", "*.jsonl.gz", "*.jsonl.zst"], "config": ["*.py"]}
NOTHING = "0" * 40  # what GitHub calls the commit before the first push of a branch


def changed_files(since: str, patterns: Sequence[str]) -> list[str]:
    """The files below this folder that git knows, match a pattern and differ from `since`. Raises UserError."""
    known = since.strip("0") != ""
    command = ["diff", "--name-only", "--relative", "--no-renames", "--diff-filter=d", "-z", "--end-of-options", since]
    command = command if known else ["ls-files", "-z"]
    done = subprocess.run(["git", *command, "--", *patterns], capture_output=True)
    if done.returncode:
        reason = (done.stderr.decode(errors="replace").strip().splitlines() or ["git"])[-1]
        raise UserError(
            f"--since {since}", reason, tr("fetch it first (fetch-depth: 0)", "请先获取该提交（fetch-depth: 0）")
        )
    return [os.fsdecode(name) for name in done.stdout.split(b"\0") if name]


def is_config(path: str) -> bool:
    """Whether a Python file is a training config of XTuner, told by its text; it is never run."""
    if not os.path.isfile(path):
        return True  # the check says what is wrong with it
    with open(path, "rb") as file:
        text = file.read(LARGEST_SOURCE)
    return b"xtuner" in text and (b"train_dataloader" in text or b"SupervisedFinetune" in text)


def select_files(kind: str, files: Sequence[str], since: str | None) -> list[str]:
    """The files to check: those given, or with `since` those that differ and match them as patterns of git's."""
    selected = list(files) if since is None else changed_files(since, files or PATTERNS[kind])
    return [file for file in selected if is_config(file)] if kind == "config" else selected


def check_rows(files: Sequence[str], names: list[str]) -> Findings:
    """What is wrong with the rows in the files. Raises UserError for a file that cannot be read."""
    findings = Findings(ROW_RULES)
    for file in files:
        validator = Validator(file, findings, names, near=False)
        with open_bytes(file) as stream:
            validate_stream(stream, validator)
    return findings


def check_configs(files: Sequence[str]) -> Iterator[tuple[str, ConfigFinding]]:
    """(file, what is wrong with it) of the configs, by their text alone. Raises OSError for one that cannot be read."""
    context = ConfigContext(files=False)
    for file in files:
        for finding in check_config_file(Path(file), context).findings:
            yield file, finding


def config_line(file: str, finding: ConfigFinding, github: bool) -> str:
    """A finding about a config as a line for the screen, or as GitHub's annotation."""
    if not github:
        return str(finding)
    text = f"{finding.found}; {finding.why}; {finding.remedy}"
    return format_annotation(finding.severity, file, finding.rule, text, finding.line)
