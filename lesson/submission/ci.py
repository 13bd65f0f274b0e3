"""Rows and configs checked where they change, for the pre-commit hooks and the GitHub Action. Nothing of them is run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lesson.config.check import ConfigFinding, check_config_file
from lesson.config.context import ConfigContext
from lesson.config.reading import LARGEST_SOURCE
from lesson.core.findings import ERROR, Findings, format_annotation
from lesson.core.messages import tr
from lesson.data.rows import open_bytes
from lesson.data.rules import ROW_RULES
from lesson.data.validator import Validator, validate_stream
from lesson.submission.changes import Changes, changed_files, refuse_link

PATTERNS = {"data": ["*.jsonl", "*.jsonl.gz", "*.jsonl.zst"], "config": ["*.py"]}


@dataclass(frozen=True)
class Selection:
    """What is checked. `refused` are (file, why it is not opened); `note` is for the user to read."""

    files: list[str]
    refused: list[tuple[str, str]]
    note: str = ""


def is_config(path: str) -> bool:
    """Whether a Python file is a training config of XTuner, told by its text; it is never run."""
    if not os.path.isfile(path):
        return True  # the check says what is wrong with it
    with open(path, "rb") as file:
        text = file.read(LARGEST_SOURCE)
    return b"xtuner" in text and (b"train_dataloader" in text or b"SupervisedFinetune" in text)


def select_files(kind: str, files: Sequence[str], since: str | None) -> Selection:
    """The files to check: those given, or with `since` those that differ and match them as patterns of git's."""
    changes = Changes(list(files)) if since is None else changed_files(since, files or PATTERNS[kind])
    refused = [(file, why) for file in changes.files if (why := refuse_link(file))]
    closed = {file for file, _ in refused}
    opened = [file for file in changes.files if file not in closed and (kind != "config" or is_config(file))]
    return Selection(opened, refused, changes.note)


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


def refused_line(file: str, why: str, github: bool) -> str:
    """That a file is not opened, as a line for the screen, or as GitHub's annotation."""
    remedy = tr("commit the file itself", "请提交文件本身")
    if not github:
        return f"{file}: {tr('[error link]', '[错误 link]')} {why}; {remedy}"
    return format_annotation(ERROR, file, "link", f"{why}; {remedy}")
