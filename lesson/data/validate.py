"""Check files of training rows and report what was found, with file, line, JSON path, and what to do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TextIO

from lesson.core.files import atomic
from lesson.core.findings import LIMIT, LISTED, REPORTS, Findings, report_text
from lesson.core.messages import UserError, tr
from lesson.core.settings import Values
from lesson.data.rows import open_bytes
from lesson.data.rules import ROW_RULES
from lesson.data.validator import Validator, validate_stream


def make_findings(report: str, limit: int | None) -> Findings:
    """An empty collection for a report that lists at most `limit` findings of each rule. Raises UserError.

    The text report lists few unless `limit` is given; the others list all that are kept.
    """
    if limit is not None and limit < 1:
        raise UserError(f"--limit {limit}", tr("not a positive number", "不是正数"), "--limit 100")
    return Findings(ROW_RULES, max(LIMIT, limit or 0) if report == "text" else limit or LIMIT)


def names_of(values: Values) -> list[str]:
    """What the assistant may call itself in SRC: OLD_NAME, and NEW_NAME where that was given. The usual one first."""
    names = [values.old_name, *([values.new_name] if values.given("NEW_NAME") else [])]
    return names if values.given("OLD_NAME") or len(names) == 1 else names[::-1]


def validate_files(
    files: Sequence[str],
    findings: Findings,
    report: Callable[[str], object],
    names: Sequence[str] = (),
    form: str = "auto",
    near: bool = True,
    tokens: Callable[[str], int] | None = None,
    max_length: int = 2048,
) -> None:
    """Check each of `files` (a path, or `-`) and add what is wrong to `findings`; see Validator for the parameters.

    `report` is called with lines for people on what each file holds. Raises UserError for a file that cannot be read, or
    holds no rows.
    """
    for file in files:
        validator = Validator(file, findings, names, form, near, tokens, max_length)
        with open_bytes(file) as stream:
            validate_stream(stream, validator)
        if not validator.rows and not findings.total:
            raise UserError(file, tr("no rows", "没有数据行"), tr("name a file with rows", "请给出有数据的文件"))
        for line in validator.describe_counts():
            report(f"{file}: {line}")


def write_report(findings: Findings, report: str, limit: int | None, output: str | None, out: TextIO) -> None:
    """Write the findings as one of REPORTS to the file `output`, else to the stream `out`."""
    if output:
        with atomic(output) as file:
            write_report(findings, report, limit, None, file)
    elif report == "text":
        report_text(findings, out, limit or LISTED, limit or LISTED)
    else:
        REPORTS[report](findings, out)


def summary_line(findings: Findings) -> str:
    """How many errors and warnings there are."""
    return tr(
        f"{findings.errors} errors, {findings.warnings} warnings",
        f"{findings.errors} 个错误，{findings.warnings} 个警告",
    )


def files_help() -> str:
    """What may be checked."""
    return tr("JSON Lines, also .gz or .zst; -", "JSON Lines，可为 .gz、.zst；-")
