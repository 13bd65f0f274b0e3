"""Mutated rows through validation, all reports, conversion, statistics and replacement: nothing may crash or hang.

Anything other than findings and UserError is a crash, and so is output that differs from the published script's where
that script accepts the input. A run that hangs for ten seconds is one too.
"""

from __future__ import annotations

import copy
import io
import json
import random
import re
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from lesson.bench.published_script import replace_bytes
from lesson.core.findings import ERROR, Findings, report_github, report_jsonl, report_junit, report_text
from lesson.core.messages import UserError
from lesson.core.strict_json import BROKEN, parse_strict_json
from lesson.data.conversion import Unconvertible, convert_from_xtuner, convert_leniently, convert_to_xtuner
from lesson.data.formats import FORMAT_KEYS, FORMATS, detect_format
from lesson.data.replace import Replacer
from lesson.data.residue import ResidueFinder
from lesson.data.row_rules import find_row_problems, texts_of
from lesson.data.rows import Block, read_blocks, read_lines
from lesson.data.rules import ROW_RULES
from lesson.data.sources import find_other_source, read_bytes
from lesson.data.statistics import RowStatistics
from lesson.data.validator import Validator, validate_stream

HANG = 10  # seconds
PAIRS = ([("尖米", "机智流")], [("n", "\\")], [("input", 'x"')], [("尖米", "米"), ("米", "尖米")])
REPLACERS = [(pairs, Replacer(pairs)) for pairs in PAIRS]
RESIDUES = (ResidueFinder("尖米", "机智流"), ResidueFinder("Nova", "Luna"))
UNFILTERED = tuple(map(copy.copy, RESIDUES))  # which look at every text closely
for _residue in UNFILTERED:
    _residue.quick = re.compile("")


def published_output(data: bytes, old: str, new: str) -> bytes | None:
    """The published script's output, None where it stops with an error."""
    try:
        return replace_bytes(data, old, new)
    except (ValueError, RecursionError):
        return None


def check_input(data: bytes) -> None:
    """Put one input through everything; any exception is a bug."""
    for form in ("auto", "sharegpt"):
        findings = Findings(ROW_RULES, limit=20)
        validate_stream(io.BytesIO(data), Validator("f", findings, ["尖米"], form, near=False))
    assert findings.counts.keys() <= ROW_RULES.keys()
    for report in (
        (report_text, report_jsonl, report_github, report_junit) if len(data) % 4 == 0 else ()
    ):  # the slow part
        out = io.StringIO()
        report(findings, out)
        out.getvalue().encode()  # no lone surrogates in what is printed
    find_other_source(data, "f")
    for pairs, replacer in REPLACERS:
        try:
            replaced = b"".join(
                replacer.replace_block(Block(block), "f", n) for n, block in read_blocks(io.BytesIO(data)) if block
            )
        except UserError:
            replaced = None
        if len(pairs) == 1 and (expected := published_output(data, *pairs[0])) is not None:
            assert replaced == expected, (pairs, replaced, expected)
    stats = RowStatistics("尖米")
    for _, line in read_lines(io.BytesIO(data)):
        text = (line or b"").decode(errors="replace")
        for residue, unfiltered in zip(RESIDUES, UNFILTERED, strict=True):
            assert residue.quick.search(text) or not unfiltered.find(text)
        row, problems = parse_strict_json(text)
        if row is BROKEN:
            assert problems
            continue
        for kind in (detect_format(row) or "xtuner", *FORMATS):
            try:
                row_of = convert_to_xtuner(row, kind)
                for aim in FORMAT_KEYS:
                    convert_from_xtuner(row_of, aim)
            except Unconvertible:
                continue
        if not problems and not list(find_row_problems(row)):
            stats.add_row(texts_of(row))
    json.dumps(stats.result(), ensure_ascii=False).encode()
    check_agreement(data)


def check_agreement(data: bytes) -> None:
    """What one accepts the next does not refuse: recipe.formats, check-data, and then the trainer."""
    if rows := convert_input(data):
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        assert not count_errors(text.encode()), text
    if (data.strip() and not data.startswith(b"\x1f\x8b")) and not count_errors(data):
        for number, line in read_lines(io.BytesIO(data)):
            if line.strip():
                require_trainable(json.loads(line), number)


def count_errors(data: bytes) -> int:
    """How many errors check-data finds in a file with this content."""
    findings = Findings(ROW_RULES, limit=20)
    validate_stream(io.BytesIO(data), Validator("f", findings, ["尖米"], near=False))
    return findings.errors


def convert_input(data: bytes) -> list[dict]:
    """The rows that recipe.formats would write, had it only the ones that it can convert."""
    rows = []
    try:
        for source in read_bytes(data, "f", "f"):
            form = detect_format(source.value)
            if source.problems or source.value is BROKEN or form is None:
                continue
            try:
                row = convert_leniently(source.value, form)
            except Unconvertible:
                continue
            problems = find_row_problems(row)
            if not any((p.severity or ROW_RULES[p.rule].severity) == ERROR for p in problems):
                require_trainable(row, source.line)
                rows.append(row)
    except UserError:
        pass
    return rows


def require_trainable(row: dict, number: int) -> None:
    """XTuner's template_map_fn and encode_fn can read the row. Raises AssertionError."""
    assert row["conversation"], number
    for turn in row["conversation"]:
        assert isinstance(turn["output"], str) and turn["output"].strip(), (number, row)
        assert isinstance(turn["input"], str | None), (number, row)
        assert isinstance(turn.get("system"), str | None), (number, row)
        assert isinstance(turn.get("output_with_loss", True), bool), (number, row)


TOKENS = [t.encode() for t in ('{"', '"}', '": "', '", "', "[{", "}]}\n", "\\u0000", "\\ud800", "\\ud83d\\ude00", "NaN", "1e400", "-0", "\r\n", "\n", "\r", "尖米", "尖 米", "ｎｏｖａ", "\ufeff", "\\n", '\\"', "xxx", "{{", "[" * 66, "]" * 66, "9" * 18, "@a.bc", '"system": ', '"conversation": ', '"messages": ', '"role": "user"', '"content": ', '"from": "gpt"', '"value": ', '"instruction": ', "null", "\u2028", "\x85", "\x7f")] + [b"\xff", b"\xed\xa0\x80", b"\x00", b"\xe5\xb0", b"PK\x03\x04", b"\xff\xfe"] + [t.encode() for t in ('"output_with_loss": false', '"loss": "False"', '"query": ', '"response": ', '"history": [["', "question,answer\n", "问题\t回答\n", '"问题": ', "\\t", "],\n[", "{{NAME}}", "聞星")]  # fmt: skip


def mutate(draw: random.Random, corpus: Sequence[bytes]) -> bytes:
    """A corpus entry with a few bytes, tokens or spans changed, or spliced with another."""
    data = bytearray(draw.choice(corpus))
    for _ in range(draw.choice((1, 1, 2, 3, 5, 9))):
        at, kind = draw.randint(0, len(data)), draw.randrange(6)
        if kind == 0:
            data[at:at] = draw.choice(TOKENS)
        elif kind == 1:
            data[at : at + draw.randint(1, 9)] = b""
        elif kind == 2 and data:
            data[at % len(data)] = draw.randrange(256)
        elif kind == 3:
            data[at:at] = data[at : at + draw.randint(1, 60)]
        elif kind == 4:
            data[at : at + draw.randint(0, 9)] = draw.choice(TOKENS)
        else:
            other = draw.choice(corpus)
            start = draw.randint(0, len(other))
            data[at:] = other[start : start + 400]
    return bytes(data[:2000])


def read_corpus(folders: Sequence[Path]) -> list[bytes]:
    """The files of `folders`, in the order of their names."""
    return [path.read_bytes() for folder in folders for path in sorted(folder.glob("*"))]


def fuzz_by_mutation(runs: int, seed: int, corpus: Sequence[bytes], report: Callable[[str], object]) -> None:
    """Check `runs` mutations of the corpus. An exception comes through as it is, with the input as a note."""

    def stop(*_: object) -> None:
        raise TimeoutError("hang")

    draw, start = random.Random(seed), time.perf_counter()
    signal.signal(signal.SIGALRM, stop)
    for number in range(runs):
        data = mutate(draw, corpus)
        signal.alarm(HANG)
        try:
            check_input(data)
        except BaseException as error:
            error.add_note(f"crash at run {number}, seed {seed}: {data!r}")
            raise
        finally:
            signal.alarm(0)
        if number % 100_000 == 99_999:
            report(f"{number + 1} inputs, {(number + 1) / (time.perf_counter() - start):.0f} a second")
    report(f"{runs} inputs, no crash, no hang, {time.perf_counter() - start:.0f} s")
