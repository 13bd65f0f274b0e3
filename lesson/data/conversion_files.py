"""Files of rows turned from one format into another: what is wrong is told at its place, and then nothing is written."""

from __future__ import annotations

import collections
import json
import shlex
from collections.abc import Set

from lesson.core.findings import ERROR, Findings
from lesson.core.messages import tr
from lesson.core.strict_json import BROKEN
from lesson.data.conversion import (
    NO_OUTPUT,
    Unconvertible,
    convert_from_xtuner,
    convert_to_xtuner,
    describe_keys,
    other_keys,
)
from lesson.data.formats import detect_format
from lesson.data.row_rules import find_row_problems, quote_keys
from lesson.data.rows import open_output
from lesson.data.rules import ROW_RULES
from lesson.data.sources import SourceRow, read_source


class Converted(collections.Counter[str]):
    """What a conversion did: "rows" written, and what it left out by XTuner's own rules (convert_to_xtuner)."""


def convert_file(path: str, output: str, source: str, target: str, drop: Set[str], findings: Findings) -> Converted:
    """Write the rows of `path`, of the format `source` (or "auto"), as rows of the format `target` to `output`.

    In rows of XTuner's format the keys that it ignores, such as id, stay. What is wrong goes into `findings`, and then nothing is written. What make check-data would refuse is refused here.
    Keys named in `drop` may be lost. Raises UserError for files that cannot be read or written.
    """
    command = f".venv/bin/python -m recipe.formats {shlex.quote(path)} {shlex.quote(output)}"
    command += "".join(f" --drop {shlex.quote(key)}" for key in sorted(drop))
    command += (f" --from {source}" if source != "auto" else "") + (f" --to {target}" if target != "xtuner" else "")
    done, told = Converted(), _Told(path, findings, command)
    try:
        with open_output(output) as file:
            for row in read_source(path):
                for problem in row.problems:
                    told.add_problem(row, problem.rule, problem.path, problem.found, problem.column)
                if row.value is BROKEN:
                    continue
                result = _convert_row(row, source, target, drop, done, told)
                if result is None:
                    continue
                if not findings.total:
                    file.write((json.dumps(result, ensure_ascii=False) + "\n").encode())
                done["rows"] += 1
            told.finish()
            if findings.total:
                raise _NothingToWrite
    except _NothingToWrite:
        return Converted()
    return done


class _NothingToWrite(Exception):
    """Leaves the block that would put the output in its place."""


class _Told:
    """Adds findings at their places; what many rows have in common, such as a key without a place, once."""

    def __init__(self, path: str, findings: Findings, command: str) -> None:
        self._path, self._findings, self._command = path, findings, command
        self._keys: dict[str, None] = {}  # without a place
        self._first: tuple[SourceRow, str] | None = None  # the first row with one, and where
        self._rows = 0  # with one
        self._common: dict[tuple[str, str], list] = {}  # rule and what was found: row, path, how many rows

    def add_problem(self, row: SourceRow, rule: str, path: str, found: str, column: int | None = None) -> None:
        line, column = row.find_place(path, column)
        at, found = row.describe(path, found)
        self._findings.add_finding(self._path, line, rule, found, at, column)

    def add_common(self, row: SourceRow, rule: str, path: str, found: str) -> None:
        """The same as add_problem, but for all rows together."""
        self._common.setdefault((rule, found), [row, path, 0])[2] += 1

    def add_keys(self, row: SourceRow, keys: dict[str, str]) -> None:
        """Keys that have no place in the other format, by their paths."""
        self._first = self._first or (row, next(iter(keys.values())))
        self._rows += 1
        self._keys |= dict.fromkeys(keys)

    def finish(self) -> None:
        """Tell what many rows have in common."""
        if self._first:
            row, path = self._first
            more = tr(f", in {self._rows} rows", f"，共 {self._rows} 行") if self._rows > 1 else ""
            drop = " ".join(f"--drop {shlex.quote(key)}" for key in self._keys)
            how = tr(f"; to let go of it: {self._command} {drop}", f"；要舍弃它：{self._command} {drop}")
            self.add_problem(row, "not-convertible", path, describe_keys(self._keys) + more + how)
        for (rule, found), (row, path, rows) in self._common.items():
            more = tr(f", in {rows} rows", f"，共 {rows} 行") if rows > 1 else ""
            self.add_problem(row, rule, path, found + more)


def _convert_row(row: SourceRow, source: str, target: str, drop: Set[str], done: Converted, told: _Told) -> dict | None:
    """The row in the other format; None when it has none, which `told` is given."""
    kind = source if source != "auto" else detect_format(row.value)
    if kind is None:
        if isinstance(row.value, dict):
            found = tr("rows with the keys ", "数据行的键为 ") + quote_keys(row.value)
            told.add_common(row, "unknown-format", "$", found)
        else:
            told.add_problem(row, "not-convertible", "$", tr("not an object", "不是对象"))
        return None
    value, more = row.value, {}
    if target == "xtuner" and isinstance(value, dict):  # XTuner ignores what else a row has, so it has a place there
        more = other_keys(value, kind, drop)
        value = {key: part for key, part in value.items() if key not in more}
    try:
        made = convert_to_xtuner(value, kind, drop, done)
        if not made.get("conversation", True) and kind == "alpaca":
            return None
        refused = [p for p in find_row_problems(made) if (p.severity or ROW_RULES[p.rule].severity) == ERROR]
        for problem in refused if target == "xtuner" else ():
            told.add_problem(row, problem.rule, problem.path, problem.found)
        return {**convert_from_xtuner(made, target, drop), **more}
    except Unconvertible as error:
        if error.keys:
            told.add_keys(row, error.keys)
        else:
            told.add_problem(row, "not-convertible", error.path, error.found)
        return None


def lines_of(done: Converted, output: str, target: str) -> list[str]:
    """What was written and left out, and the command that comes next."""
    lines = []
    if count := done["opening"]:
        lines.append(
            tr(
                f"left out, as XTuner does: {count} messages of the assistant before the first question",
                f"与 XTuner 一样略去：第一个问题之前的 {count} 条助手消息",
            )
        )
    if count := done["no output"]:
        lines.append(
            tr(
                f"left out, as XTuner does: {count} rows with {NO_OUTPUT}",
                f"与 XTuner 一样略去：{count} 行 {NO_OUTPUT}",
            )
        )
    lines.append(tr(f"{done['rows']} rows: {output}", f"{done['rows']} 行：{output}"))
    if target == "xtuner":
        command = f"make data SRC={shlex.quote(output)}"
        lines.append(tr(f"next: {command}", f"下一步：{command}"))
    return lines
