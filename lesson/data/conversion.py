"""Rows turned from one format into another, by way of XTuner's; nothing is lost in silence."""

from __future__ import annotations

import json
from collections.abc import Iterator

from lesson.core.findings import Findings
from lesson.core.messages import UserError, tr
from lesson.core.strict_json import BROKEN, JsonProblem, child_path, parse_strict_json
from lesson.core.text import shorten
from lesson.data.formats import FORMAT_KEYS, detect_document, detect_format
from lesson.data.rows import LONGEST_LINE, open_bytes, open_output, read_lines

LARGEST_DOCUMENT = 64 << 20  # bytes of a JSON document, which has to be held in memory as a whole
# For the two formats that are lists of messages: the keys of a message, and the role names by who speaks.
_SPEAKER = {"messages": ("role", "content"), "sharegpt": ("from", "value")}
_WRITTEN = {
    "messages": {"system": "system", "input": "user", "output": "assistant"},
    "sharegpt": {"system": "system", "input": "human", "output": "gpt"},
}
_READ = {
    "messages": {"system": "system", "user": "input", "assistant": "output"},
    "sharegpt": {"system": "system", "human": "input", "user": "input", "gpt": "output", "assistant": "output"},
}


class Unconvertible(Exception):
    """A part of a row that the other format has no place for, or a row that is not of its format."""

    def __init__(self, path: str, found: str) -> None:
        super().__init__(path, found)
        self.path, self.found = path, found


def convert_to_xtuner(row: object, source: str, drop: frozenset[str] = frozenset()) -> dict:
    """The row in XTuner's format; keys named in `drop` may be lost. Raises Unconvertible."""
    _require_type(row, dict, "$")
    if source == "xtuner":
        _refuse_other_keys(row, {"conversation"}, "$", drop)
        return {"conversation": row.get("conversation")}
    if source == "alpaca":
        return {"conversation": [_from_alpaca(row, drop)]}
    key = FORMAT_KEYS[source]
    _refuse_other_keys(row, {key}, "$", drop)
    return {"conversation": _turns(row.get(key), child_path("$", key), source, drop)}


def convert_from_xtuner(row: object, target: str) -> dict:
    """A row of XTuner's format as `target`. Raises Unconvertible."""
    _require_type(row, dict, "$")
    _refuse_other_keys(row, {"conversation"}, "$")
    turns = row.get("conversation")
    _require_type(turns, list, "$.conversation")
    if target == "xtuner":
        return {"conversation": turns}
    for index, turn in enumerate(turns):
        at = child_path("$.conversation", index)
        _require_type(turn, dict, at)
        _refuse_other_keys(turn, {"system", "input", "output"} if index == 0 else {"input", "output"}, at)
        for key in {"input": 0, "output": 0, **turn}:
            _require_type(turn.get(key), str, child_path(at, key))
    if target == "alpaca":
        if len(turns) != 1:
            raise Unconvertible(
                "$.conversation", tr(f"{len(turns)} turns, Alpaca has one", f"{len(turns)} 轮，Alpaca 只有一轮")
            )
        if "system" in turns[0]:
            raise Unconvertible("$.conversation[0].system", tr("Alpaca has no system prompt", "Alpaca 没有 system"))
        return {"instruction": turns[0]["input"], "input": "", "output": turns[0]["output"]}
    who, what = _SPEAKER[target]
    messages = []
    for turn in turns:
        messages += [
            {who: _WRITTEN[target][key], what: turn[key]} for key in ("system", "input", "output") if key in turn
        ]
    return {FORMAT_KEYS[target]: messages}


def _from_alpaca(row: dict, drop: frozenset[str]) -> dict:
    _refuse_other_keys(row, {"instruction", "input", "output"}, "$", drop)
    for key in ("instruction", "output"):
        _require_type(row.get(key), str, child_path("$", key))
    more = row.get("input", "")
    _require_type(more, str, "$.input")
    return {"input": row["instruction"] + ("\n" + more if more else ""), "output": row["output"]}


def _turns(messages: object, at: str, source: str, drop: frozenset[str]) -> list[dict]:
    """Messages paired into turns: an optional system prompt, then user and assistant by turns, ending with the latter."""
    who, what = _SPEAKER[source]
    _require_type(messages, list, at)
    turns: list[dict] = []
    turn: dict[str, str] = {}
    for index, message in enumerate(messages):
        at_message = child_path(at, index)
        _require_type(message, dict, at_message)
        _refuse_other_keys(message, {who, what}, at_message, drop)
        _require_type(message.get(who), str, child_path(at_message, who))
        _require_type(message.get(what), str, child_path(at_message, what))
        key = _READ[source].get(message[who])
        if key is None:
            found = tr(f"the role {shorten(message[who])!r}", f"角色 {shorten(message[who])!r}")
            raise Unconvertible(child_path(at_message, who), found)
        if key == "system" and index == 0:
            turn["system"] = message[what]
        elif key == "input" and "input" not in turn:
            turn["input"] = message[what]
        elif key == "output" and "input" in turn:
            turns.append({**turn, "output": message[what]})
            turn = {}
        else:
            raise Unconvertible(
                child_path(at_message, who), tr(f"{message[who]!r} out of turn", f"{message[who]!r} 的次序不对")
            )
    if turn:
        raise Unconvertible(at, tr("the last message has no answer", "最后一条消息没有回答"))
    return turns


def _require_type(value: object, kind: type, at: str) -> None:
    if not isinstance(value, kind):
        names = {dict: tr("an object", "对象"), list: tr("an array", "数组"), str: tr("a string", "字符串")}
        found = tr(
            f"{shorten(repr(value))} where {names[kind]} belongs", f"此处应为{names[kind]}，却是 {shorten(repr(value))}"
        )
        raise Unconvertible(at, found)


def _refuse_other_keys(found: dict, known: set[str], at: str, drop: frozenset[str] = frozenset()) -> None:
    for key in found:
        if key not in known and key not in drop:
            what = tr(
                f"the key {shorten(key)!r} has no place (--drop lets it go)",
                f"键 {shorten(key)!r} 无处安放（--drop 可舍弃）",
            )
            raise Unconvertible(child_path(at, key), what)


def read_any_format(path: str) -> Iterator[tuple[int, object, list[JsonProblem]]]:
    """(line, value, problems) of each row of JSON Lines, or of a JSON document (whose rows have its first line)."""
    with open_bytes(path) as stream:
        head = stream.read(LONGEST_LINE) if path != "-" else b""
    if detect_document(head.decode(errors="replace")):
        yield from _document(path)
        return
    with open_bytes(path) as stream:
        for number, raw in read_lines(stream):
            if raw is None:
                yield (
                    number,
                    BROKEN,
                    [
                        JsonProblem(
                            "too-long", "", None, tr(f"more than {LONGEST_LINE} bytes", f"超过 {LONGEST_LINE} 字节")
                        )
                    ],
                )
                continue
            try:
                text = raw.decode()
            except UnicodeDecodeError as error:
                yield number, BROKEN, [JsonProblem("not-utf8", "", error.start + 1, f"0x{raw[error.start]:02x}")]
                continue
            if text.strip():
                yield number, *parse_strict_json(text)


def _document(path: str) -> Iterator[tuple[int, object, list[JsonProblem]]]:
    remedy = tr("split it, or write JSON Lines", "请拆分，或写成 JSON Lines")
    with open_bytes(path) as stream:
        data = stream.read(LARGEST_DOCUMENT + 1)
    if len(data) > LARGEST_DOCUMENT:
        raise UserError(path, tr("a JSON document of more than 64 MiB", "JSON 文档超过 64 MiB"), remedy)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            path, tr(f"not UTF-8 at byte {error.start + 1}", f"第 {error.start + 1} 字节不是 UTF-8"), remedy
        ) from None
    value, problems = parse_strict_json(text)
    for problem in problems:  # its columns count from the start of the document
        line = text.count("\n", 0, problem.column - 1) + 1 if problem.column else 1
        yield line, BROKEN, [problem]
    if not problems:
        for row in value if isinstance(value, list) else [value]:
            yield 1, row, []


def convert_file(path: str, output: str, source: str, target: str, drop: frozenset[str], findings: Findings) -> int:
    """Write the rows of `path`, of the format `source` (or "auto"), as rows of the format `target` to `output`.

    What is wrong goes into `findings`, and then nothing is written. Keys named in `drop` may be lost. Gives back how many
    rows were written. Raises UserError for files that cannot be read or written.
    """
    written = 0
    try:
        with open_output(output) as file:
            for line, row, problems in read_any_format(path):
                for problem in problems:
                    findings.add_finding(path, line, problem.rule, problem.found, problem.path, problem.column)
                if row is BROKEN:
                    continue
                try:
                    result = _convert_row(row, source, target, drop)
                except Unconvertible as error:
                    findings.add_finding(path, line, "not-convertible", error.found, error.path)
                    continue
                if not findings.total:
                    file.write((json.dumps(result, ensure_ascii=False) + "\n").encode())
                written += 1
            if findings.total:
                raise _NothingToWrite
    except _NothingToWrite:
        return 0
    return written


class _NothingToWrite(Exception):
    """Leaves the block that would put the output in its place."""


def _convert_row(row: object, source: str, target: str, drop: frozenset[str]) -> dict:
    kind = source if source != "auto" else detect_format(row)
    if kind is None:
        raise Unconvertible("$", tr("not a row of any format known here", "不是已知格式的数据行"))
    return convert_from_xtuner(convert_to_xtuner(row, kind, drop), target)
