"""Findings: what was found where and what to do about it, collected under a limit, reported four ways."""

from __future__ import annotations

import collections
import json
import re
import shlex
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TextIO

from lesson.core.messages import tr

LIMIT = 10_000  # findings of one rule kept in memory; further ones are counted
LISTED = 20  # findings of one rule that the text report lists; the other reports list all that were kept

ERROR, WARNING = "error", "warning"


@dataclass(frozen=True, slots=True)
class FindingRule:
    """One rule that something may break: `severity` is ERROR or WARNING, `remedy` what to do, by language (en, zh)."""

    severity: str
    remedy: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found. Lines and columns count from 1 (columns in characters; bytes where the line is not UTF-8)."""

    file: str
    line: int
    column: int | None
    path: str  # JSON path such as $.conversation[0].input; empty where it is about the whole line
    rule: str
    severity: str
    found: str
    remedy: str

    @property
    def place(self) -> str:
        """FILE:LINE, or FILE:LINE:COLUMN."""
        return f"{self.file}:{self.line}" + (f":{self.column}" if self.column else "")

    def __str__(self) -> str:
        path = f" {self.path}" if self.path else ""
        return f"{self.place}:{path} [{self.severity} {self.rule}] {self.found}; {self.remedy}"


def name_files(remedy: str, file: str) -> str:
    """A remedy with FILE as the name of the file, and OUTPUT as one beside it, both as a shell reads them."""
    if "FILE" not in remedy:
        return remedy
    plain = f"./{file}" if file.startswith("-") and file != "-" else file  # no option of the command
    output = "rows" if file == "-" else re.sub(r"(?<=[^/])[.][^./]*([.](gz|zst))?$", "", plain)
    output += ".xtuner.jsonl"
    named = {"FILE": shlex.quote(plain), "OUTPUT": shlex.quote(output)}
    return re.sub("FILE|OUTPUT", lambda match: named[match[0]], remedy)


class Findings:
    """Collects what breaks one of the `rules`, up to `limit` of each so that none hides another, and counts by rule."""

    def __init__(self, rules: Mapping[str, FindingRule], limit: int = LIMIT) -> None:
        self.kept: list[Finding] = []
        self.counts: collections.Counter[str] = collections.Counter()
        self._severities: collections.Counter[tuple[str, str]] = collections.Counter()  # by rule and severity
        self._rules, self._limit = rules, limit

    def add_finding(
        self,
        file: str,
        line: int,
        rule: str,
        found: str,
        path: str = "",
        column: int | None = None,
        severity: str | None = None,
    ) -> None:
        """Count what was `found`, and keep it while there are not too many of its rule.

        `severity` is the rule's unless it is given. FILE and OUTPUT in the rule's remedy become names that can be typed.
        """
        severity = severity or self._rules[rule].severity
        self.counts[rule] += 1
        self._severities[rule, severity] += 1
        if self.counts[rule] <= self._limit:
            texts = self._rules[rule].remedy
            remedy = name_files(tr(texts["en"], texts["zh"]), file)
            self.kept.append(Finding(file, line, column, path, rule, severity, found, remedy))

    def count_severity(self, severity: str) -> int:
        """How many findings are of this severity, kept or not."""
        return sum(count for (_, one), count in self._severities.items() if one == severity)

    @property
    def errors(self) -> int:
        """How many findings are errors."""
        return self.count_severity(ERROR)

    @property
    def warnings(self) -> int:
        """How many findings are warnings."""
        return self.count_severity(WARNING)

    @property
    def total(self) -> int:
        """How many findings there are."""
        return self.counts.total()

    def sorted(self) -> list[Finding]:
        """In the order of the lines; what concerns the whole file was added last and is sorted in."""
        return sorted(self.kept, key=lambda f: (f.file, f.line, f.column or 0))

    def summary(self) -> Iterator[str]:
        """One line for each rule, errors first."""
        for (rule, severity), count in sorted(self._severities.items(), key=lambda i: (i[0][1], -i[1], i[0][0])):
            yield f"  {count:>7}  {severity:<7}  {rule}"


def report_text(findings: Findings, out: TextIO, errors: int = LISTED, warnings: int = LISTED) -> None:
    """For people: errors, then warnings, at most so many of each rule, then how many there are of each."""
    shown: collections.Counter[str] = collections.Counter()
    for finding in sorted(findings.sorted(), key=lambda f: f.severity):
        shown[finding.rule] += 1
        if shown[finding.rule] <= (errors if finding.severity == ERROR else warnings):
            print(finding, file=out)
        else:
            shown[finding.rule] -= 1
    for line in findings.summary():
        print(line, file=out)
    if shown.total() < findings.total:
        hidden = findings.total - shown.total()
        print(
            tr(
                f"  {hidden} more are not listed (.venv/bin/python -m recipe.validate --limit N)",
                f"  另有 {hidden} 条未列出（.venv/bin/python -m recipe.validate --limit N）",
            ),
            file=out,
        )


def report_jsonl(findings: Findings, out: TextIO) -> None:
    """JSON Lines, one object for each finding that was kept."""
    for finding in findings.sorted():
        # ASCII escapes: a file name from the command line may hold bytes that are no UTF-8.
        print(json.dumps(asdict(finding), ensure_ascii=not _clean(finding.file)), file=out)


def _clean(text: str) -> bool:
    return not any(0xD800 <= ord(c) <= 0xDFFF for c in text)


def format_annotation(
    kind: str, file: str, title: str, text: str, line: int | None = None, column: int | None = None
) -> str:
    """A workflow command of GitHub Actions (docs.github.com: Workflow commands, "Setting an error message").

    `kind` is error or warning. Everything else may come from a stranger: no control character and no end of line is
    sent, so that no further command begins.
    """

    def escape(text: str, more: str = "") -> str:
        text = "".join(c if c in "\r\n" or unicodedata.category(c)[0] != "C" else ascii(c)[1:-1] for c in text)
        for char in "%\r\n" + more:
            text = text.replace(char, f"%{ord(char):02X}")
        return text

    place = f"file={escape(file, ':,')}" + (f",line={line}" if line else "") + (f",col={column}" if column else "")
    return f"::{kind} {place},title={escape(title, ':,')}::{escape(text)}"


def report_github(findings: Findings, out: TextIO) -> None:
    """Annotations of GitHub Actions, one for each finding."""
    for f in findings.sorted():
        text = f"{f.path}: {f.found}; {f.remedy}" if f.path else f"{f.found}; {f.remedy}"
        print(format_annotation(f.severity, f.file, f.rule, text, f.line, f.column), file=out)


def report_junit(findings: Findings, out: TextIO) -> None:
    """JUnit XML: one test case for each finding; only errors fail."""
    from xml.sax.saxutils import quoteattr  # brings urllib along, which no other report needs

    def quoted(text: str) -> str:
        # What XML 1.0 cannot hold at all, escaped or not.
        return quoteattr(re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text))

    failures = sum(f.severity == ERROR for f in findings.kept)
    print('<?xml version="1.0" encoding="UTF-8"?>', file=out)
    print(
        f'<testsuite name="recipe.validate" tests="{max(1, len(findings.kept))}" failures="{failures}">',
        file=out,
    )
    if not findings.kept:
        print('  <testcase classname="recipe.validate" name="clean"/>', file=out)
    for f in findings.sorted():
        print(f"  <testcase classname={quoted(f.rule)} name={quoted(f'{f.place} {f.path}'.strip())}>", file=out)
        tag = "failure" if f.severity == ERROR else "system-out"
        if tag == "failure":
            print(f"    <failure type={quoted(f.rule)} message={quoted(f'{f.found}; {f.remedy}')}/>", file=out)
        else:
            print(f"    <system-out>{quoted(f'{f.found}; {f.remedy}')[1:-1]}</system-out>", file=out)
        print("  </testcase>", file=out)
    print("</testsuite>", file=out)


REPORTS = {"text": report_text, "jsonl": report_jsonl, "github": report_github, "junit": report_junit}
