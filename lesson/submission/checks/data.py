"""Checks of the submitted rows: valid, replaced, saying the new name, and the course's."""

from __future__ import annotations

import functools
import json

from lesson.config.rules import ERROR
from lesson.core.findings import Findings
from lesson.core.messages import tr
from lesson.core.settings import ROOT
from lesson.core.text import fold_text, shorten
from lesson.data import rows
from lesson.data.replace import Replacer
from lesson.data.residue import ResidueFinder, scan_rows
from lesson.data.rows import Block, read_blocks
from lesson.data.rules import ROW_RULES, SOURCE_NAMES
from lesson.data.validator import Validator
from lesson.evaluation.judging import says_name
from lesson.submission.evidence import LARGEST_ROWS, Evidence
from lesson.submission.naming import no_name
from lesson.submission.registry import SHOWN, Failed, Skipped, Unjudged, define_check
from lesson.submission.staff import StaffInputs

MOST_COMMON = 0.02  # share of the shipped answers that a name may occur in by chance


@define_check("data", "data")
def data_rules(evidence: Evidence, staff: StaffInputs) -> str:
    """the rows are valid conversations | 数据行都是有效的对话"""
    findings, counts, count = Findings(ROW_RULES), [], 0
    evidence.require_size("data", LARGEST_ROWS)
    names = [n for n in (evidence.new_name,) if n]
    for name in evidence.row_files:
        validator = Validator(name, findings, names, near=False)
        with evidence.open_rows(name) as stream:
            for number, block in read_blocks(stream):
                validator.check_block(number, block and Block(block))
        validator.finish()
        counts.append(next(iter(validator.describe_counts())))
        count += validator.rows
    errors = [f for f in findings.sorted() if f.severity == ERROR]
    if errors:
        what = tr(f"{findings.errors} errors, the first: ", f"{findings.errors} 个错误，第一个：") + str(errors[0])
        raise Failed(what, errors[0].remedy, [str(f) for f in errors[:SHOWN]])
    if not count:
        raise Failed(tr("no rows", "没有数据行"), "make data")
    return "; ".join(counts[:SHOWN])


@define_check("data", "data", after=("data_rules",))
def replaced(evidence: Evidence, staff: StaffInputs) -> str:
    """nothing is left of the old name | 旧名字已全部替换"""
    old = evidence.old_name
    findings = Findings(ROW_RULES)
    residues = [ResidueFinder(name, *filter(None, [evidence.new_name])) for name in evidence.old_names]
    for file in evidence.row_files:
        with evidence.open_rows(file) as stream:
            for number, block in read_blocks(stream):
                text = block.decode(errors="replace").replace("\r\n", "\n").replace("\r", "\n")
                scan_rows(residues, findings, file, number, text)
    left = [f for f in findings.sorted() if f.severity == ERROR]
    if left:
        what = tr(f"{old} is left in {len(left)} places: ", f"还有 {len(left)} 处 {old}：") + str(left[0])
        raise Failed(what, tr("make data, then train again", "请运行 make data 后重新训练"), [str(f) for f in left])
    return tr(f"no {old}", f"没有 {old}")


@define_check("data", "data", after=("replaced",))
def named(evidence: Evidence, staff: StaffInputs) -> str:
    """the rows say the new name | 数据里有新名字"""
    new = evidence.new_name
    if not new:
        raise Unjudged(*no_name())
    if "new" not in evidence.given_names:  # what the staff ask for is a name
        _require_a_name(new, evidence)
    encoded, count = (new.encode(), json.dumps(new)[1:-1].encode()), 0
    with evidence.open_all_rows() as stream:
        for _, line in rows.read_lines(stream):
            count += line is not None and any(form in line for form in encoded)
    if count == 0:
        raise Failed(
            tr(f"no row says {shorten(new)}", f"没有一行提到 {shorten(new)}"), f"make data NEW_NAME={shorten(new)}"
        )
    return tr(f"{count} rows say {shorten(new)}", f"{count} 行提到 {shorten(new)}")


def _require_a_name(new: str, evidence: Evidence) -> None:
    """Raise Failed for a new name that an untrained base says, or that rows say which were never replaced."""
    folded = fold_text(new)
    if folded == fold_text(evidence.old_name) or folded in map(fold_text, SOURCE_NAMES):
        what = tr(f"{shorten(new)} is the old name", f"{shorten(new)} 就是旧名字")
    elif any(folded in fold_text(name) for name in evidence.own_base_names):
        what = tr(f"{shorten(new)} is the base's own name", f"{shorten(new)} 是基座自己的名字")
    elif _share_of_answers(new) > MOST_COMMON:
        what = tr(f"{shorten(new)} is a common word", f"{shorten(new)} 是常用词")
    else:
        return
    raise Failed(what, tr("choose a name: make data NEW_NAME=…", "请选一个名字：make data NEW_NAME=…"))


@functools.cache
def read_common_answers() -> tuple[str, ...]:
    """The answers in the rows that ship, their names taken out."""
    with rows.open_bytes(ROOT / "data" / "assistant_Tuner.jsonl") as stream:
        lines = [line for _, line in rows.read_lines(stream) if line]
    answers = [turn["output"] for line in lines for turn in json.loads(line)["conversation"]]
    for name in SOURCE_NAMES:
        answers = [answer.replace(name, "\0") for answer in answers]
    return tuple(answers)


def _share_of_answers(new: str) -> float:
    """The share of the common answers that say `new`."""
    answers = read_common_answers()
    return sum(says_name(answer, new) for answer in answers) / len(answers)


@define_check("data", "data", after=("data_rules",))
def source(evidence: Evidence, staff: StaffInputs) -> str:
    """the rows are the course's, with only the name changed | 数据即课程数据，只改了名字"""
    if staff.source is None:
        raise Skipped(tr("SOURCE is not given", "没有给出 SOURCE"))
    if not evidence.new_name:
        raise Unjudged(*no_name())
    old = evidence.old_name
    if "old" not in evidence.given_names:  # the name that the course's rows have, not the one that the record tells
        with rows.open_bytes(staff.source) as stream:
            content = stream.read(LARGEST_ROWS)
        old = next((name for name in SOURCE_NAMES if name.encode() in content), old)
    replacer = Replacer([(old, evidence.new_name)])
    with rows.open_bytes(staff.source) as stream:
        expected = [
            line
            for number, block in read_blocks(stream)
            if block is not None
            for line in replacer.replace_block(Block(block), staff.source, number).splitlines()
        ]
    with evidence.open_all_rows() as stream:
        found = [line for _, line in rows.read_lines(stream) if line is None or line.strip()]
    different = [i for i, (a, b) in enumerate(zip(expected, found, strict=False), 1) if a != b]
    if different or len(expected) != len(found):
        places = [f"{i}: {shorten((found[i - 1] or b'').decode(errors='replace'))}" for i in different[:SHOWN]]
        what = tr(
            f"{len(different)} rows differ from the replaced source, {len(found)} rows instead of {len(expected)}",
            f"{len(different)} 行与替换结果不同，共 {len(found)} 行，应为 {len(expected)} 行",
        )
        raise Failed(what, tr("make data from the course's source", "请用课程源数据运行 make data"), places)
    return tr(f"{len(found)} rows equal", f"{len(found)} 行一致")
