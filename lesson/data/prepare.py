"""make data: rows checked, the old name replaced, the result checked, what is left of the old name looked for."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TextIO

from lesson.core.files import readable, sha256
from lesson.core.findings import ERROR, Findings, report_text
from lesson.core.layout import changed_rows
from lesson.core.messages import UserError, tr
from lesson.core.records import Record, make_alone
from lesson.core.settings import Values
from lesson.data.accepted import AcceptedPlaces
from lesson.data.replace import Replacer, parse_pair
from lesson.data.residue import ResidueFinder, scan_rows
from lesson.data.row_rules import texts_of
from lesson.data.rows import Block, open_bytes, read_blocks, source_remedy, split_lines
from lesson.data.rules import ROW_RULES
from lesson.data.validator import Validator

BLANK_LINE = re.compile(rb"\n[ \t]*\n")


@dataclass(frozen=True)
class PreparedRows:
    """The rows to train on: their file, and, unless it was up to date, how it was made."""

    path: Path
    up_to_date: bool
    counted: tuple[str, ...] = ()  # lines for people on what was counted
    strings_replaced: int = 0
    pairs: tuple[tuple[str, str], ...] = ()  # (old, new)
    sha256: str = ""
    general: tuple[int, int] | None = None  # general rows mixed in, and as many as were asked for


class Mixer(Protocol):
    """Rows that are added to the user's own: lesson/authoring/mixed_rows.py."""

    share: float
    seed: int

    @property
    def wanted(self) -> int:
        """How many rows were asked for, once all own rows were seen."""

    def take_row(self, turns: list[dict]) -> None:
        """See one of the user's rows, as it is trained on."""

    def draw_rows(self) -> Iterator[str]:
        """The rows to add, as JSON text, `wanted` of them or as many as there are."""


def list_pairs(values: Values) -> list[tuple[str, str]]:
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
    result += [parse_pair(text) for text in values.text("MAP").split(";") if text.strip()]
    for was, becomes in result:
        if not becomes.strip():  # could leave a row with a blank answer
            raise UserError(
                f"MAP={was}=", tr("the new text is blank", "新文本是空白"), tr("write OLD=NEW", "请写 旧=新")
            )
    return result


class ReplacedRowsChecker:
    """Looks at the rows once more after replacement: nothing is left of the `olds`.

    Their shape is as before: replacing changes nothing but string values, none of which becomes blank.

    `file` is the source, in whose lines the findings are placed. `accepts` says which residues the user accepts.
    """

    def __init__(
        self,
        file: str,
        findings: Findings,
        pairs: list[tuple[str, str]],
        olds: list[str],
        accepts: Callable[[int, str, str], bool] = lambda line, path, near: False,
    ) -> None:
        self._file, self._findings, self._accepts = file, findings, accepts
        self._residues = [ResidueFinder(old, *(new for _, new in pairs)) for old in olds]

    def check_block(self, number: int, block: Block) -> None:
        """Replaced rows, of which the first came from line `number` of the source."""
        scan_rows(self._residues, self._findings, self._file, number, block.text, self._accepts)


class NamesSought:
    """Whether the source says the new name already, and which of the old authors it does not say."""

    def __init__(self, new_name: str, authors: list[str]) -> None:
        self._new_name = new_name.encode()
        self.unseen_authors = set(authors)
        self.line_of_new_name: int | None = None

    def search_block(self, number: int, block: Block) -> None:
        """Rows of the source, of which the first stands in line `number`."""
        if self.line_of_new_name is None and (at := block.data.find(self._new_name)) >= 0:
            self.line_of_new_name = number + len(split_lines(block.data[:at] + b"\n")) - 1
        self.unseen_authors -= {author for author in self.unseen_authors if block.text and author in block.text}


def prepare_rows(values: Values, problems: TextIO, mixer: Mixer | None = None) -> PreparedRows:
    """Make the rows to train on from SRC, those of `mixer` behind them. Raises UserError when they must not be trained on;
    nothing is written then.

    The findings, and a warning of a source that says both names, go to the stream `problems`. The source is read once, in
    bounded memory; only when the output may be up to date, its hash is taken before.
    """
    _ = values.src, values.build, values.force, values.profile  # each checked before any work
    pairs = list_pairs(values)
    readable(values.src, source_remedy())  # a missing or empty file is said before anything else
    with make_alone(changed_rows(values.build)):
        return _prepare_rows(values, pairs, problems, mixer)


def _prepare_rows(values: Values, pairs: list[tuple[str, str]], problems: TextIO, mixer: Mixer | None) -> PreparedRows:
    source, target = values.src, changed_rows(values.build)
    replacer = Replacer(pairs)
    accepted = values.text("ACCEPT")
    judged = {"accepted": sha256(readable(accepted, source_remedy()))} if accepted else {}
    mixed = {"general": mixer.share, "seed": mixer.seed} if mixer else {}
    record = Record(target, {}, {"replaced": [list(pair) for pair in pairs], **mixed, **judged})
    if record.has_same_parameters():
        record.inputs = {"source": sha256(source)}
        if record.up_to_date():
            return PreparedRows(target, up_to_date=True)
    record.guard(values.force)
    findings = Findings(ROW_RULES)
    names, replaced = (values.old_name, values.new_name), [old for old, _ in pairs]
    accepting = {"accepts": AcceptedPlaces(accepted).accepts} if accepted else {}
    validator = Validator(source, findings, names, near=False, replaced=replaced, **accepting)
    authors = [values.old_author] if values.text("NEW_AUTHOR") else []
    checker = ReplacedRowsChecker(source, findings, pairs, [values.old_name, *authors], **accepting)
    sought = NamesSought(values.new_name, authors)
    digest = hashlib.sha256()

    def check(number: int, block: Block) -> None:
        checker.check_block(number, block)
        if mixer:
            for line in block.text[:-1].split("\n"):
                mixer.take_row(texts_of(json.loads(line))["conversation"])

    added = 0
    with record.write_file("wb") as file:
        with open_bytes(source, digest=digest) as stream:
            for number, data in read_blocks(stream):
                block = data and Block(data)
                validator.check_block(number, block)
                if findings.errors or block is None:
                    continue
                sought.search_block(number, block)
                block = block.dumped or block
                _replace_block(block, number, source, replacer, check, file.write)
        validator.finish()
        report_text(findings, problems, errors=findings.errors, warnings=3)
        says_new = sought.line_of_new_name is not None
        _refuse_rows(source, findings, validator, values.old_name, replacer.changed or says_new)
        for author in sought.unseen_authors:  # one that no row names was mistyped
            remedy = tr("set OLD_AUTHOR to the author in the rows", "请把 OLD_AUTHOR 设为数据里的作者")
            raise UserError(f"OLD_AUTHOR={author}", tr(f"no row of {source} says so", f"{source} 没有一行提到"), remedy)
        for row in mixer.draw_rows() if mixer else ():
            file.write(row.encode() + b"\n")
            added += 1
        record.inputs = {"source": digest.hexdigest()}
        record.facts = {
            "rows": validator.rows,
            "strings_replaced": replacer.changed,
            "questions": validator.distinct_questions,
            **({"general_rows": added} if mixer else {}),
        }
    if says_new and replacer.changed:
        print(_both_names_line(source, sought.line_of_new_name, values.old_name, values.new_name), file=problems)
    counted = tuple(validator.describe_counts())
    general = (added, mixer.wanted) if mixer else None
    return PreparedRows(target, False, counted, replacer.changed, tuple(pairs), record.output_hash, general)


def _replace_block(
    block: Block,
    number: int,
    place: str,
    replacer: Replacer,
    check: Callable[[int, Block], object],
    write: Callable[[bytes], object],
) -> None:
    """Replace whole lines, of which the first has the number `number`; `check` the result, then `write` it."""
    # Blank lines go, so where there are any, lines are taken one by one for the check to name the right ones.
    alone = block.data[:1].isspace() or b"\r" in block.data or BLANK_LINE.search(block.data)
    for first, part in _split_block(number, block) if alone else ((number, block),):
        replaced = replacer.replace_block(part, place, first)
        check(first, Block(replaced))
        write(replaced)


def _split_block(number: int, block: Block) -> Iterator[tuple[int, Block]]:
    for line_number, line in enumerate(split_lines(block.data), number):
        if line.strip():
            yield line_number, Block(line + b"\n")


def _refuse_rows(source: str, findings: Findings, validator: Validator, old: str, named: bool) -> None:
    """Raise UserError when the rows must not be trained on; `named`: they say a name, the old or already the new one."""
    if findings.errors:
        first = next(f for f in findings.sorted() if f.severity == ERROR)
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


def _both_names_line(source: str, line: int, old: str, new: str) -> str:
    """Where the source already says the new name beside the old: as in 你是小冰吗？ → 不是，我是小冰。"""
    return tr(
        f"warning: {source}:{line}: already says {new}, while others say {old}: who is who becomes unclear; "
        f"choose another NEW_NAME, take those rows out, or take new rows for this name: make synth NEW_NAME={new}",
        f"警告：{source}:{line}: 已经出现 {new}，而其他行用 {old}，会分不清是谁；请换一个 NEW_NAME，或去掉这些行，"
        f"或为这个名字生成数据：make synth NEW_NAME={new}",
    )


def lines_of(made: PreparedRows) -> list[str]:
    """What was counted and replaced, where it was written, and the command that comes next."""
    following = tr("next: make preview, or make train", "下一步：make preview 或 make train")
    if made.up_to_date:
        return [tr(f"{made.path}: up to date", f"{made.path}：已是最新"), following]
    count = made.strings_replaced
    replaced = tr(f"{count} strings replaced: ", f"替换了 {count} 个字符串：") + ", ".join(map("→".join, made.pairs))
    written = tr(f"written: {made.path}", f"已写出：{made.path}")
    mixed = []
    if made.general is not None:
        added, wanted = made.general
        mixed = [tr(f"{added} general rows mixed in", f"混入了 {added} 行通用问答")]
        if added < wanted:
            mixed[0] += tr(f": all that there are, {wanted} were asked for", f"：只有这么多，要求的是 {wanted} 行")
    return [*made.counted, replaced, *mixed, f"SHA-256 {made.sha256}", written, following]
