"""Findings about data: what was found where and what to do about it, collected under a limit, reported four ways."""

from __future__ import annotations

import collections
import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TextIO

from lesson.core.messages import tr

LIMIT = 10_000  # findings of one rule kept in memory; further ones are counted
LISTED = 20  # findings of one rule that the text report lists; the other reports list all that were kept

ERROR, WARNING = "error", "warning"

# rule: (severity, what to do in English, in Chinese). An error stops `make data`; a warning does not.
RULES: dict[str, tuple[str, str, str]] = {
    "bad-json": (ERROR, "mend the JSON at this place", "请修正此处的 JSON"),
    "not-finite": (
        ERROR,
        "JSON has no NaN or Infinity: use a number that fits, or a string",
        "JSON 没有 NaN 和 Infinity：请改用正常的数或字符串",
    ),
    "duplicate-key": (
        ERROR,
        "keep one of the two: readers take the last and drop the other silently",
        "只保留一个：多数程序只读最后一个",
    ),
    "not-utf8": (
        ERROR,
        "save the file as UTF-8 (e.g. iconv -f GB18030 -t UTF-8)",
        "请另存为 UTF-8（例如 iconv -f GB18030 -t UTF-8）",
    ),
    "bom": (ERROR, "save the file as UTF-8 without BOM", "请另存为不带 BOM 的 UTF-8"),
    "json-document": (
        ERROR,
        "one row per line is needed; convert it: python -m recipe.formats FILE OUTPUT",
        "需要每行一条；请转换：python -m recipe.formats 文件 输出文件",
    ),
    "other-format": (
        ERROR,
        "convert it to XTuner's format: python -m recipe.formats FILE OUTPUT",
        "请转成 XTuner 格式：python -m recipe.formats 文件 输出文件",
    ),
    "not-convertible": (
        ERROR,
        "remove or rewrite this part: the other format has no place for it",
        "请删除或改写：目标格式容不下它",
    ),
    "wrong-type": (ERROR, "put the text that belongs here", "请填入应有的文本"),
    "missing-key": (ERROR, "add the key", "请补上这个键"),
    "unknown-key": (ERROR, "remove or rename the key: training ignores it", "请删除或改名：训练不会用到它"),
    "empty-conversation": (ERROR, "add at least one turn, or remove the row", "请至少写一轮，或删除该行"),
    "placeholder": (ERROR, "write the real text, or remove the row", "请写入真实内容，或删除该行"),
    "blank-output": (ERROR, "write the answer, or remove the row", "请写入回答，或删除该行"),
    "lone-surrogate": (
        ERROR,
        "write the whole character: half of a surrogate pair is no text",
        "请写完整字符：半个代理对不是文本",
    ),
    "too-deep": (ERROR, "flatten the value: at most 64 levels", "请减少嵌套：最多 64 层"),
    "too-long": (
        ERROR,
        "split the row: at most 1 MiB a line; a JSON array on one line must be converted: python -m recipe.formats FILE OUTPUT",
        "请拆分：每行最多 1 MiB；单行的 JSON 数组请先转换：python -m recipe.formats 文件 输出文件",
    ),
    "crlf": (
        WARNING,
        "use LF line ends (dos2unix); the result has them in any case",
        "建议用 LF 换行（dos2unix）；产物总是 LF",
    ),
    "blank-line": (WARNING, "remove the blank line; the result has none in any case", "请删除空行；产物不含空行"),
    "duplicate-row": (WARNING, "keep one, unless the repetition is meant", "若非有意重复，请只留一条"),
    "near-duplicate": (WARNING, "keep one, unless both are meant", "若非有意，请只留一条"),
    "name-conflict": (WARNING, "make all answers to this question say the same name", "请让同一问题的回答自称一致"),
    "name-missing": (WARNING, "say the name in the answer: this row asks for it", "该行在问名字，回答里应说出名字"),
    "too-many-tokens": (WARNING, "shorten or split the row: training cuts it off", "请缩短或拆分：训练会截断"),
    "odd-system": (
        WARNING,
        "use the system prompt of the other rows, unless this one is meant",
        "若非有意，请与其他行的 system 一致",
    ),
    "control-character": (WARNING, "remove the character that cannot be seen", "请删除不可见字符"),
    "personal-data": (WARNING, "remove or invent it, unless it may be published", "请删除或虚构，除非可以公开"),
    "residue": (
        ERROR,
        "the old name is still here: write it plainly in the source, or map this form too (MAP=)",
        "旧名字仍在：请在源数据中写规范，或用 MAP= 一并替换",
    ),
    "residue-form": (
        WARNING,
        "if this is the old name, write it plainly in the source, or map this form too (MAP=)",
        "若这是旧名字，请在源数据中写规范，或用 MAP= 一并替换",
    ),
}


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
        return f"{self.file}:{self.line}" + (f":{self.column}" if self.column else "")

    def __str__(self) -> str:
        path = f" {self.path}" if self.path else ""
        return f"{self.place}:{path} [{self.severity} {self.rule}] {self.found}; {self.remedy}"


class Findings:
    """Collects findings, up to `limit` of each rule so that none hides another, and counts all of them by rule."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.kept: list[Finding] = []
        self.counts: collections.Counter[str] = collections.Counter()
        self._limit = limit

    def add(self, file: str, line: int, rule: str, found: str, path: str = "", column: int | None = None) -> None:
        severity, en, zh = RULES[rule]
        self.counts[rule] += 1
        if self.counts[rule] <= self._limit:
            self.kept.append(Finding(file, line, column, path, rule, severity, found, tr(en, zh)))

    def of(self, severity: str) -> int:
        return sum(count for rule, count in self.counts.items() if RULES[rule][0] == severity)

    @property
    def errors(self) -> int:
        return self.of(ERROR)

    @property
    def warnings(self) -> int:
        return self.of(WARNING)

    @property
    def total(self) -> int:
        return self.counts.total()

    def sorted(self) -> list[Finding]:
        """In the order of the lines; what concerns the whole file was added last and is sorted in."""
        return sorted(self.kept, key=lambda f: (f.file, f.line, f.column or 0))

    def summary(self) -> Iterator[str]:
        """One line for each rule, errors first."""
        for rule, count in sorted(self.counts.items(), key=lambda item: (RULES[item[0]][0], -item[1], item[0])):
            yield f"  {count:>7}  {RULES[rule][0]:<7}  {rule}"


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
                f"  {hidden} more are not listed (recipe.validate --limit N)",
                f"  另有 {hidden} 条未列出（recipe.validate --limit N）",
            ),
            file=out,
        )


def report_jsonl(findings: Findings, out: TextIO) -> None:
    for finding in findings.sorted():
        # ASCII escapes: a file name from the command line may hold bytes that are no UTF-8.
        print(json.dumps(asdict(finding), ensure_ascii=not _clean(finding.file)), file=out)


def _clean(text: str) -> bool:
    return not any(0xD800 <= ord(c) <= 0xDFFF for c in text)


def annotation(kind: str, file: str, title: str, text: str, line: int | None = None, column: int | None = None) -> str:
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
        said = f"{f.path}: {f.found}; {f.remedy}" if f.path else f"{f.found}; {f.remedy}"
        print(annotation(f.severity, f.file, f.rule, said, f.line, f.column), file=out)


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
