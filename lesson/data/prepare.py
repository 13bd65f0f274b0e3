"""make data: check the source rows, replace the old name, check the result, look for what is left of the old name.

Reads SRC, writes BUILD/data/assistant_Tuner_change.jsonl. Errors in the rows stop it (exit status 2, all findings
printed, nothing written); warnings do not. One pass over the file, in bounded memory. Near duplicates and token counts
are left to make check-data.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence

from lesson.core import cli
from lesson.core.files import Record, atomic, record_path, sha256
from lesson.core.findings import ERROR, Findings, report_text
from lesson.core.layout import changed_rows
from lesson.core.messages import UserError, tr
from lesson.core.settings import Values
from lesson.data.replace import Replacer, pair
from lesson.data.residue import Residue, scan
from lesson.data.row_rules import check_row
from lesson.data.rows import Block, blocks, open_bytes, source_remedy, split_lines
from lesson.data.rules import ROW_RULES
from lesson.data.validate import Validator

SETTINGS = ("SRC", "OLD_NAME", "NEW_NAME", "OLD_AUTHOR", "NEW_AUTHOR", "MAP", "PROFILE", "BUILD", "FORCE")
BLANK_LINE = re.compile(rb"\n[ \t]*\n")


def pairs(values: Values) -> list[tuple[str, str]]:
    """(old, new) of all replacements that the settings ask for, the name first. Raises UserError."""
    old, new = values.old_name, values.new_name
    if old == new:
        raise UserError(
            f"NEW_NAME={new}",
            tr("the same as OLD_NAME: nothing would change", "与 OLD_NAME 相同，什么都不会变"),
            tr("choose another NEW_NAME", "请换一个 NEW_NAME"),
        )
    result = [(old, new)]
    if values.text("NEW_AUTHOR"):
        result.append((values.old_author, values.new_author))
    result += [pair(text) for text in values.text("MAP").split(";") if text.strip()]
    for was, becomes in result:
        if not becomes.strip():  # could leave a row with a blank answer
            raise UserError(
                f"MAP={was}=", tr("the new text is blank", "新文本是空白"), tr("write OLD=NEW", "请写 旧=新")
            )
    return result


class Second:
    """The second look, at the result: still rows of the schema, and nothing left of the old name."""

    def __init__(self, file: str, findings: Findings, replaced: list[tuple[str, str]], olds: list[str]) -> None:
        self._file, self._findings = file, findings
        self._residues = [Residue(old, *(new for _, new in replaced)) for old in olds]

    def block(self, number: int, block: Block) -> None:
        """Replaced rows, of which the first came from line `number` of the source."""
        text = block.text
        if block.canonical != len(text):  # keys in another order, or damage: look at each
            for index, line in enumerate(text[:-1].split("\n")):
                for problem in check_row(json.loads(line)):
                    if ROW_RULES[problem.rule].severity == ERROR:
                        self._findings.add_finding(
                            self._file, number + index, problem.rule, problem.found, problem.path
                        )
        scan(self._residues, self._findings, self._file, number, text)


def stage(values: Values) -> int:
    source, build, force, _ = values.src, values.build, values.force, values.profile  # each checked before any work
    replacements = pairs(values)
    target = changed_rows(build)
    replacer = Replacer(replacements)
    with open_bytes(source):  # a missing or empty file is said before anything else
        pass
    record = Record(target, {"source": sha256(source)}, {"replaced": [list(p) for p in replacements]})
    if record.up_to_date():
        print(tr(f"{target}: up to date", f"{target}：已是最新"))
        _next()
        return 0
    record.guard(force)
    findings = Findings(ROW_RULES)
    validator = Validator(source, findings, (values.old_name, values.new_name), near=False)
    olds = [values.old_name, *([values.old_author] if values.text("NEW_AUTHOR") else [])]
    second = Second(source, findings, replacements, olds)
    new_name, says_new = values.new_name.encode(), False
    unseen = set(olds[1:])  # an author that no row names was mistyped
    with open_bytes(source) as stream, atomic(target, "wb") as file:
        for number, block in blocks(stream):
            block = block and Block(block)
            validator.block(number, block)
            if findings.errors or block is None:
                continue
            says_new = says_new or new_name in block.data
            unseen -= {old for old in unseen if block.text and old in block.text}
            # Blank lines go, so where there are any, lines are taken one by one for the scan to name the right ones.
            alone = block.data[:1].isspace() or b"\r" in block.data or BLANK_LINE.search(block.data)
            parts = [(number, block)]
            if alone:
                parts = (
                    (n, Block(line + b"\n")) for n, line in enumerate(split_lines(block.data), number) if line.strip()
                )
            for first, part in parts:
                replaced = replacer.block(part, source, first)
                second.block(first, Block(replaced))
                file.write(replaced)
        validator.close()
        report_text(findings, sys.stderr, errors=findings.errors, warnings=3)
        _refuse(source, findings, validator, replacements[0][0], replacer.changed or says_new)
        for author in unseen:
            remedy = tr("set OLD_AUTHOR to the author in the rows", "请把 OLD_AUTHOR 设为数据里的作者")
            raise UserError(f"OLD_AUTHOR={author}", tr(f"no row of {source} says so", f"{source} 没有一行提到"), remedy)
    if says_new and replacer.changed:
        _warn_of_both(source, values.old_name, values.new_name)
    record.write(rows=validator.rows, strings_replaced=replacer.changed, questions=validator.questions)
    for line in validator.facts():
        print(line)
    print(
        tr(f"{replacer.changed} strings replaced: ", f"替换了 {replacer.changed} 个字符串：")
        + ", ".join(map("→".join, replacements))
    )
    print(f"SHA-256 {json.loads(record_path(target).read_text(encoding='utf-8'))['output']}")
    print(tr(f"written: {target}", f"已写出：{target}"))
    _next()
    return 0


def _refuse(source: str, findings: Findings, validator: Validator, old: str, named: bool) -> None:
    """Raise UserError when the rows must not be trained on; `named`: they say a name, the old or already the new one."""
    if findings.errors:
        first = next(f for f in findings.sorted() if f.severity == "error")
        what = tr(
            f"{findings.errors} errors in the data, the first: {first.path} {first.found}",
            f"数据有 {findings.errors} 个错误，第一个：{first.path} {first.found}",
        )
        raise UserError(first.place, what, first.remedy)
    if not validator.rows:
        raise UserError(source, tr("no rows", "没有数据行"), source_remedy())
    if not named:
        remedy = tr("set OLD_NAME to the name in the rows", "请把 OLD_NAME 设为数据里的名字")
        raise UserError(source, tr(f"no row says {old}: nothing to replace", f"没有一行提到 {old}，无可替换"), remedy)


def _warn_of_both(source: str, old: str, new: str) -> None:
    """Say where the source already says the new name beside the old: as in 你是小冰吗？ → 不是，我是小冰。"""
    with open_bytes(source) as stream:
        line = next((n for n, text in enumerate(stream, 1) if new.encode() in text), 1)
    message = tr(
        f"warning: {source}:{line}: already says {new}, while others say {old}: who is who becomes unclear; "
        "choose another NEW_NAME, or take those rows out",
        f"警告：{source}:{line}: 已经出现 {new}，而其他行用 {old}，会分不清是谁；请换一个 NEW_NAME，或去掉这些行",
    )
    print(message, file=sys.stderr)


def _next() -> None:
    print(tr("next: make preview, or make train", "下一步：make preview 或 make train"))


def main(arguments: Sequence[str], stdout=None, stderr=None) -> int:
    """Exit status: 0 written or up to date, 2 unusable input or errors in the rows."""
    return cli.run("data", __doc__, SETTINGS, stage, arguments, stdout, stderr)
