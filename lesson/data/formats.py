"""Convert training rows between XTuner's format and Alpaca, OpenAI messages and ShareGPT; nothing is lost in silence.

    python -m recipe.formats INPUT OUTPUT [--from auto] [--to xtuner] [--drop KEY]

xtuner    {"conversation": [{"system", "input", "output"}, {"input", "output"}]}
alpaca    {"instruction", "input", "output"}: one turn, no system prompt; instruction and input become two lines
messages  {"messages": [{"role": "system" | "user" | "assistant", "content"}]}
sharegpt  {"conversations": [{"from": "system" | "human" | "gpt", "value"}]}

INPUT is JSON Lines, or one JSON document with an array of rows or a single row (at most 64 MiB).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from lesson.core import cli
from lesson.core.findings import Findings, report_text
from lesson.core.messages import UserError, set_language, tr
from lesson.core.strict_json import BROKEN, JsonProblem, child_path, parse_strict_json
from lesson.core.text import shorten
from lesson.data.rows import LONGEST_LINE, lines, open_bytes, open_output
from lesson.data.rules import ROW_RULES

LARGEST_DOCUMENT = 64 << 20  # bytes of a JSON document, which has to be held in memory as a whole
KEYS = {"xtuner": "conversation", "messages": "messages", "sharegpt": "conversations", "alpaca": "instruction"}
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


def detect(row: object) -> str | None:
    """The format whose own key the row has, else None."""
    if isinstance(row, dict):
        for name, key in KEYS.items():
            if key in row:
                return name
    return None


def to_xtuner(row: object, source: str, drop: frozenset[str] = frozenset()) -> dict:
    """The row in XTuner's format; keys named in `drop` may be lost. Raises Unconvertible."""
    _has(row, dict, "$")
    if source == "xtuner":
        _only(row, {"conversation"}, "$", drop)
        return {"conversation": row.get("conversation")}
    if source == "alpaca":
        return {"conversation": [_from_alpaca(row, drop)]}
    key = KEYS[source]
    _only(row, {key}, "$", drop)
    return {"conversation": _turns(row.get(key), child_path("$", key), source, drop)}


def from_xtuner(row: object, target: str) -> dict:
    """A row of XTuner's format as `target`. Raises Unconvertible."""
    _has(row, dict, "$")
    _only(row, {"conversation"}, "$")
    turns = row.get("conversation")
    _has(turns, list, "$.conversation")
    if target == "xtuner":
        return {"conversation": turns}
    for index, turn in enumerate(turns):
        at = child_path("$.conversation", index)
        _has(turn, dict, at)
        _only(turn, {"system", "input", "output"} if index == 0 else {"input", "output"}, at)
        for key in {"input": 0, "output": 0, **turn}:
            _has(turn.get(key), str, child_path(at, key))
    if target == "alpaca":
        if len(turns) != 1:
            raise Unconvertible(
                "$.conversation", tr(f"{len(turns)} turns, Alpaca has one", f"{len(turns)} 轮，Alpaca 只有一轮")
            )
        if "system" in turns[0]:
            raise Unconvertible("$.conversation[0].system", tr("Alpaca has no system prompt", "Alpaca 没有 system"))
        return {"instruction": turns[0]["input"], "input": "", "output": turns[0]["output"]}
    who, what = _SPEAKER[target]
    said = []
    for turn in turns:
        said += [{who: _WRITTEN[target][key], what: turn[key]} for key in ("system", "input", "output") if key in turn]
    return {KEYS[target]: said}


def _from_alpaca(row: dict, drop: frozenset[str]) -> dict:
    _only(row, {"instruction", "input", "output"}, "$", drop)
    for key in ("instruction", "output"):
        _has(row.get(key), str, child_path("$", key))
    more = row.get("input", "")
    _has(more, str, "$.input")
    return {"input": row["instruction"] + ("\n" + more if more else ""), "output": row["output"]}


def _turns(said: object, at: str, source: str, drop: frozenset[str]) -> list[dict]:
    """Messages paired into turns: an optional system prompt, then user and assistant by turns, ending with the latter."""
    who, what = _SPEAKER[source]
    _has(said, list, at)
    turns: list[dict] = []
    turn: dict[str, str] = {}
    for index, message in enumerate(said):
        here = child_path(at, index)
        _has(message, dict, here)
        _only(message, {who, what}, here, drop)
        _has(message.get(who), str, child_path(here, who))
        _has(message.get(what), str, child_path(here, what))
        key = _READ[source].get(message[who])
        if key is None:
            found = tr(f"the role {shorten(message[who])!r}", f"角色 {shorten(message[who])!r}")
            raise Unconvertible(child_path(here, who), found)
        if key == "system" and index == 0:
            turn["system"] = message[what]
        elif key == "input" and "input" not in turn:
            turn["input"] = message[what]
        elif key == "output" and "input" in turn:
            turns.append({**turn, "output": message[what]})
            turn = {}
        else:
            raise Unconvertible(
                child_path(here, who), tr(f"{message[who]!r} out of turn", f"{message[who]!r} 的次序不对")
            )
    if turn:
        raise Unconvertible(at, tr("the last message has no answer", "最后一条消息没有回答"))
    return turns


def _has(value: object, kind: type, at: str) -> None:
    if not isinstance(value, kind):
        names = {dict: tr("an object", "对象"), list: tr("an array", "数组"), str: tr("a string", "字符串")}
        found = tr(
            f"{shorten(repr(value))} where {names[kind]} belongs", f"此处应为{names[kind]}，却是 {shorten(repr(value))}"
        )
        raise Unconvertible(at, found)


def _only(found: dict, known: set[str], at: str, drop: frozenset[str] = frozenset()) -> None:
    for key in found:
        if key not in known and key not in drop:
            what = tr(
                f"the key {shorten(key)!r} has no place (--drop lets it go)",
                f"键 {shorten(key)!r} 无处安放（--drop 可舍弃）",
            )
            raise Unconvertible(child_path(at, key), what)


def items(path: str) -> Iterator[tuple[int, object, list[JsonProblem]]]:
    """(line, value, problems) of each row of JSON Lines, or of a JSON document (whose rows have its first line)."""
    with open_bytes(path) as stream:
        head = stream.read(LONGEST_LINE) if path != "-" else b""
    if document(head.decode(errors="replace")):
        yield from _document(path)
        return
    with open_bytes(path) as stream:
        for number, raw in lines(stream):
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


def document(head: str) -> str:
    """What the start of a file looks like when it is not JSON Lines: "array", "pretty-printed" or ""."""
    head = head.lstrip("\ufeff \t\r\n")
    if head.startswith("["):
        return "array"
    first = head.split("\n", 1)[0].strip()
    if first.startswith("{") and "\n" in head.strip():
        # A first line that ends where more must follow, and a second one that could not begin a row.
        rest = head.split("\n", 1)[1].lstrip()
        if (first.endswith(("{", "[", ",")) and not rest.startswith("{")) or first == "{":
            return "pretty-printed"
    return ""


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


def convert(source: str, target: str, origin: str, aim: str, drop: frozenset[str], findings: Findings) -> int:
    """Write `source` as rows of format `aim` to `target`, whole or (when there are findings) not at all; rows written."""
    written = 0

    class Stop(Exception):
        pass

    try:
        with open_output(target) as file:
            for line, row, problems in items(source):
                for problem in problems:
                    findings.add_finding(source, line, problem.rule, problem.found, problem.path, problem.column)
                if row is BROKEN:
                    continue
                try:
                    kind = origin if origin != "auto" else detect(row)
                    if kind is None:
                        found = tr("not a row of any format known here", "不是已知格式的数据行")
                        raise Unconvertible("$", found)
                    result = from_xtuner(to_xtuner(row, kind, drop), aim)
                except Unconvertible as error:
                    findings.add_finding(source, line, "not-convertible", error.found, error.path)
                    continue
                if not findings.total:
                    file.write((json.dumps(result, ensure_ascii=False) + "\n").encode())
                written += 1
            if findings.total:
                raise Stop
    except Stop:
        return 0
    return written


def _main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m recipe.formats", description=__doc__.splitlines()[0])
    parser.add_argument("input")
    parser.add_argument("output")
    parser.add_argument("--from", dest="origin", default="auto", choices=["auto", *KEYS])
    parser.add_argument("--to", dest="aim", default="xtuner", choices=list(KEYS))
    parser.add_argument("--drop", action="append", default=[], metavar="KEY", help=tr("let this key go", "舍弃这个键"))
    parser.add_argument("--lang", default=None)
    options = parser.parse_args(arguments)
    set_language(options.lang)
    findings = Findings(ROW_RULES)
    written = convert(options.input, options.output, options.origin, options.aim, frozenset(options.drop), findings)
    if findings.total:
        report_text(findings, sys.stderr)
        print(tr("nothing was written", "没有写出任何内容"), file=sys.stderr)
        return 1
    if options.output != "-":
        print(tr(f"{written} rows: {Path(options.output)}", f"{written} 行：{Path(options.output)}"))
    return 0


def main(arguments: Sequence[str], stdout=None, stderr=None) -> int:
    """Exit status: 0 converted, 1 something cannot be carried over (nothing is written), 2 unusable input."""
    return cli.guarded(lambda: _main(arguments), stdout, stderr)
