"""Check training rows before anybody trains on them: each finding with file, line, JSON path, and what to do.

    python -m recipe.validate [FILE…] [--name 尖米] [--format auto] [--report text|jsonl|github|junit] [--limit N]

Without FILE the file is SRC and the name OLD_NAME, as for make data.
Exit status: 0 nothing found, 1 findings (warnings too), 2 input that cannot be used. Neither torch nor xtuner is needed.
The rules are those of recipe.findings.RULES; what concerns one row alone is in recipe.checks.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from lesson.core import cli
from lesson.core.files import atomic
from lesson.core.findings import LIMIT, LISTED, REPORTS, Findings, report_text
from lesson.core.messages import UserError, set_language, tr
from lesson.core.settings import ROOT, Values
from lesson.core.strict_json import BROKEN, JsonProblem, parse_strict_json
from lesson.core.text import shorten
from lesson.data.formats import KEYS, Unconvertible, detect, document, to_xtuner
from lesson.data.row_rules import UNSEEN, check_row
from lesson.data.rows import CANONICAL_ROWS, LONGEST_LINE, Block, blocks, marked_lines, open_bytes, split_lines
from lesson.data.rules import ASKS_NAME, PLACEHOLDER, PLACEHOLDER_STARTS, ROW_RULES, TELLS_NAME

REMEMBERED = 100_000  # distinct rows and questions that are remembered to find repeats: bounds memory for any file
COMPARED = 10_000  # distinct rows that near duplicates are looked for among: MinHash takes about 0.1 ms a row
COMPARABLE = 60  # characters from which a row is compared: shorter ones that are alike are paraphrases
COMPARED_TEXT = 2000  # characters of a row that are compared
SIMILAR = 0.9  # Jaccard similarity of character trigrams from which two rows are near duplicates

# In canonical rows: what makes a row worth a closer look. Each is fast on whole blocks; a row without any is clean.
_CLOSER = (
    # In canonical text `"output": "` stands only before an answer, and `": "` only before a value.
    re.compile(
        rf'": "(?=["\s\\{re.escape(PLACEHOLDER_STARTS)}])(?:(?<="output": ")(?:\s|\\[nrtfb])*+"'
        r"|(?:\s|\\[nrtfb])*+" + PLACEHOLDER.pattern + '")',
        re.IGNORECASE,
    ),
    # Unseen characters, as such or escaped, and e-mail addresses. One set of first characters stands in front of the
    # alternatives, so that the regex engine skips over all others.
    re.compile(f"[{UNSEEN}@\\\\](?:(?<=\\\\)(?:u00|[bf])|(?<=[{UNSEEN}@]))"),
)
# Every phone and citizen's number. Slow on rows with numbers, so only for blocks where, digits made alike and
# separators taken out, there is a run of ten: a test at the speed of memory.
_NUMBER = re.compile(r"[0-9](?:[- ]?[0-9]){9}")
_DIGITS_ALIKE = bytes(ord("0") if chr(i) in "0123456789" else i for i in range(256))
_FIELD = re.compile(r'"(system|input|output)": "((?:[^"\\]++|\\.)*+)"')


def _fields(row: str) -> list[tuple[str, str]]:
    """(key, value as in the text) of all turns of a canonical row, in order."""
    if "\\" in row:
        return _FIELD.findall(row)
    parts = row.split('"')  # {" conversation ": [{" system ": " … ", " input ": " … : every fourth is a key
    return list(zip(parts[3::4], parts[5::4], strict=True))


class Validator:
    """Checks one file, given block by block; `close` adds what only the whole file shows.

    `names` are what the assistant may call itself in the rows, the usual one first, when that is known. `tokens` counts the tokens of a row.
    """

    def __init__(
        self,
        file: str,
        findings: Findings,
        names: Sequence[str] = (),
        form: str = "auto",
        near: bool = True,
        tokens: Callable[[str], int] | None = None,
        max_length: int = 2048,
    ) -> None:
        self.file, self.findings, self._form = file, findings, form
        self._tokens, self._max_length = tokens, max_length
        self._name = names[0] if names else None
        self._raw_names = [json.dumps(name, ensure_ascii=False)[1:-1] for name in names]
        self.rows = self.turns = self.blank = self.crlf = self.repeats = 0
        self._first_blank = self._first_crlf = 0
        self._seen: dict[int, int] = {}  # hash of a row: its first line
        self._again: dict[int, int] = {}  # hash of a repeated row: how many more there are
        self._dirty: set[int] = set()  # hashes of rows that had findings: looked at again each time
        self._questions: dict[int, list[int]] = {}  # hash: first line, distinct answers, with the name, without
        self._systems: dict[int, list] = {}  # hash of a system prompt: first line, distinct rows, its start
        self._near = _Near() if near else None
        self._form_said = self._stop = self._started = False
        self._waiting: list[str] = []  # rows made canonical, of lines that follow each other from _waiting_at on
        self._waiting_at = 0

    @property
    def questions(self) -> int:
        """Distinct first questions, among at most REMEMBERED distinct rows."""
        return len(self._questions)

    def block(self, number: int, block: Block | None) -> None:
        """Whole lines of which the first has the number `number`; None is a line that was too long to be read."""
        if self._stop:
            return
        if block is None:
            self._started = True
            self._add(
                number,
                JsonProblem("too-long", "", None, tr(f"more than {LONGEST_LINE} bytes", f"超过 {LONGEST_LINE} 字节")),
            )
            return
        if not self._started and self._is_document(number, block.data):
            return
        text = block.text
        if text is None or "\r" in text or self._form not in ("auto", "xtuner"):
            self._line_ends(number, block.data)
            for line in split_lines(block.data):
                self._line(number, line)
                number += 1
            self._flush()
            return
        numbers = b"0" * 10 in block.data.translate(_DIGITS_ALIKE, b" -")
        start, end = 0, block.canonical
        while True:
            if end > start:
                self._flush()
                number = self._canonical(number, text[start:end], numbers)
            if end == len(text):
                self._flush()
                return
            start = text.index("\n", end) + 1
            self._text(number, text[end : start - 1])
            number += 1
            end = CANONICAL_ROWS.match(text, start).end()

    def close(self) -> None:
        """Findings about the file as a whole."""
        if self._stop:
            return
        if self.crlf:
            found = tr(f"{self.crlf} lines end in CR LF", f"{self.crlf} 行以 CRLF 结尾")
            self.findings.add_finding(self.file, self._first_crlf, "crlf", found)
        if self.blank:
            self.findings.add_finding(
                self.file, self._first_blank, "blank-line", tr(f"{self.blank} blank lines", f"{self.blank} 个空行")
            )
        for key, more in self._again.items():
            found = tr(f"the same row {more + 1} times", f"同一行出现 {more + 1} 次")
            self.findings.add_finding(self.file, self._seen[key], "duplicate-row", found)
        if self._near:
            for line, twin, share in self._near.pairs():
                found = tr(f"{share:.0%} like line {twin}", f"与第 {twin} 行相似 {share:.0%}")
                self.findings.add_finding(self.file, line, "near-duplicate", found)
        known = sum(count for _, count, _ in self._systems.values())
        usual = max(self._systems.values(), key=lambda item: item[1], default=None)
        if known >= 100 and usual[1] * 2 > known:
            for line, count, text in self._systems.values():
                if count * 100 <= known:
                    found = tr(f"{count} of {known} rows: {text}", f"{known} 行中只有 {count} 行：{text}")
                    self.findings.add_finding(self.file, line, "odd-system", found, "$.conversation[0].system")

    def facts(self) -> Iterator[str]:
        """Counts for the summary, as lines of text."""
        yield tr(
            f"{self.rows} rows, {self.turns} turns, {self.questions} distinct questions, {self.repeats} rows repeat another",
            f"{self.rows} 行，{self.turns} 轮，{self.questions} 个不同的问题，{self.repeats} 行与其他行重复",
        )
        most = max((answers for _, answers, _, _ in self._questions.values()), default=0)
        several = sum(answers > 1 for _, answers, _, _ in self._questions.values())
        if several:
            yield tr(
                f"{several} questions have several answers (at most {most})",
                f"{several} 个问题有多个回答（最多 {most} 个）",
            )
        if len(self._seen) >= REMEMBERED:
            yield tr(
                f"repeats were looked for among the first {REMEMBERED} distinct rows",
                f"只在前 {REMEMBERED} 个不同的行中查找重复",
            )

    def _add(self, number: int, problem: JsonProblem) -> None:
        self.findings.add_finding(self.file, number, problem.rule, problem.found, problem.path, problem.column)

    def _is_document(self, number: int, block: bytes) -> bool:
        """A JSON document in place of JSON Lines gets one finding, not one for each line."""
        head = block.decode(errors="replace")
        if not head.strip("\ufeff \t\r\n"):
            return False
        self._started = True
        kind = document(head)
        if not kind:
            return False
        found = tr(
            "one JSON array, not one row a line" if kind == "array" else "pretty-printed JSON, not one row a line",
            "整个文件是一个 JSON 数组，而不是每行一条" if kind == "array" else "排版过的 JSON，而不是每行一条",
        )
        self._add(number, JsonProblem("json-document", "$", 1, found))
        self._stop = True
        return True

    def _line_ends(self, number: int, block: bytes) -> None:
        count = block.count(b"\r")
        if count and not self.crlf:
            self._first_crlf = number + len(split_lines(block[: block.index(b"\r") + 1] + b"\n")) - 1
        self.crlf += count

    def _line(self, number: int, line: bytes) -> None:
        try:
            self._text(number, line.decode())
        except UnicodeDecodeError as error:
            self.rows += 1
            self._add(
                number,
                JsonProblem(
                    "not-utf8",
                    "",
                    error.start + 1,
                    tr(f"the byte 0x{line[error.start]:02x}", f"字节 0x{line[error.start]:02x}"),
                ),
            )

    def _text(self, number: int, line: str) -> None:
        """One line that is not known to be canonical."""
        if not line.strip(" \t\r\n"):
            self.blank += 1
            self._first_blank = self._first_blank or number
            return
        value, problems = parse_strict_json(line)
        for problem in problems:
            self._add(number, problem)
        if value is BROKEN:
            self.rows += 1
            return
        form = self._form if self._form != "auto" else detect(value) or "xtuner"
        if form != "xtuner":
            if self._form == "auto" and not self._form_said:
                self._form_said = True
                self._add(
                    number,
                    JsonProblem("other-format", "$", None, tr(f"rows of the format {form}", f"{form} 格式的数据行")),
                )
            try:
                value = to_xtuner(value, form)
            except Unconvertible as error:
                self.rows += 1
                self._add(number, JsonProblem("not-convertible", error.path, None, error.found))
                return
        canonical = json.dumps(value, ensure_ascii=False)
        if CANONICAL_ROWS.fullmatch(canonical + "\n") and not any(p.rule == "lone-surrogate" for p in problems):
            if number != self._waiting_at + len(self._waiting):
                self._flush()
                self._waiting_at = number
            self._waiting.append(canonical)
            return
        self.rows += 1
        for problem in check_row(value):
            self._add(number, problem)

    def _flush(self) -> None:
        """Check the rows that wait: many at once take a fraction of the time."""
        if self._waiting:
            rows, self._waiting = "\n".join(self._waiting) + "\n", []
            self._canonical(self._waiting_at, rows, numbers=True)

    def _canonical(self, number: int, text: str, numbers: bool) -> int:
        """Rows proven to be of the schema's shape; gives back the number of the line after them.

        `numbers`: whether they could hold phone numbers.
        """
        rows = text[:-1].split("\n")
        self.rows += len(rows)
        self.turns += text.count('"output": "')  # an inner quotation mark would be escaped: only a key looks like this
        keys = list(map(hash, rows))
        seen = self._seen
        if len(seen) >= REMEMBERED and not self._tokens and seen.keys().isdisjoint(keys):
            for index in self._closer(text, numbers):
                self._look(number + index, rows[index])
            return number + len(rows)
        fresh = []
        for line_number, key, row in zip(range(number, number + len(rows)), keys, rows, strict=True):
            if key in seen:
                self._repeat(line_number, key, row)
            else:
                fresh.append((line_number, key, row))
                if len(seen) < REMEMBERED:
                    seen[key] = line_number
        if fresh:
            together = "".join(row + "\n" for _, _, row in fresh) if len(fresh) < len(rows) else text
            closer = self._closer(together, numbers)
            found = set()
            for index, (line_number, key, row) in enumerate(fresh):
                first = seen.get(key) == line_number
                if index in closer and self._look(line_number, row) and first:
                    found.add(key)
                if self._tokens or first:
                    self._fresh(line_number, row, first)
            if found:  # rows of this very block may repeat them
                self._dirty |= found
                for line_number, key, row in zip(range(number, number + len(rows)), keys, rows, strict=True):
                    if key in found and seen[key] != line_number:
                        self._look(line_number, row)
        return number + len(rows)

    def _closer(self, rows: str, numbers: bool) -> set[int]:
        """The indexes of the rows that need a closer look."""
        patterns = (*_CLOSER, _NUMBER) if numbers else _CLOSER
        return {index for pattern in patterns for index in marked_lines(pattern, rows)}

    def _repeat(self, number: int, key: int, row: str) -> None:
        self.repeats += 1
        self._again[key] = self._again.get(key, 0) + 1
        if key in self._dirty:
            self._look(number, row)

    def _fresh(self, number: int, row: str, remembered: bool) -> None:
        """A row that was not seen before, as canonical text."""
        fields = _fields(row)
        if remembered:
            self._meaning(number, fields)
            if self._near and len(self._seen) <= COMPARED:
                said = "\n".join(text for name, text in fields if name != "system")
                if len(said) >= COMPARABLE:
                    self._near.add(number, said[:COMPARED_TEXT])
        if self._tokens:
            count = sum(self._tokens(json.loads(f'"{text}"')) for _, text in fields)
            if count > self._max_length:
                found = tr(
                    f"{count} tokens, max_length is {self._max_length}",
                    f"{count} 个 token，max_length 为 {self._max_length}",
                )
                self._add(number, JsonProblem("too-many-tokens", "$", None, found))

    def _look(self, number: int, line: str) -> bool:
        problems = list(check_row(json.loads(line)))
        for problem in problems:
            self._add(number, problem)
        return bool(problems)

    def _meaning(self, number: int, fields: list[tuple[str, str]]) -> None:
        """What a distinct row says, held against the other rows."""
        system = fields[0][1] if fields[0][0] == "system" else ""
        if (key := hash(system)) in self._systems:
            self._systems[key][1] += 1
        elif len(self._systems) < 1000:
            self._systems[key] = [number, 1, shorten(system)]
        position = 1 if fields[0][0] == "system" else 0
        question, answer = fields[position][1], fields[position + 1][1]
        entry = self._questions.setdefault(hash(question.strip()), [number, 0, 0, 0])
        entry[1] += 1
        if not self._raw_names:
            return
        path = "$.conversation[0].output"
        if any(name in answer for name in self._raw_names):
            entry[2] = entry[2] or number
        else:
            if TELLS_NAME.search(answer):
                entry[3] = entry[3] or number
            if ASKS_NAME.search(question):
                found = tr(
                    f"asked {shorten(question)!r}, the answer never says {self._name}",
                    f"问「{shorten(question)}」，回答没有提到 {self._name}",
                )
                self._add(number, JsonProblem("name-missing", path, None, found))
        if entry[2] and entry[3] and number in (entry[2], entry[3]):
            other = min(entry[2], entry[3])
            found = tr(
                f"line {other} answers the same question with another name", f"第 {other} 行对同一问题的自称不同"
            )
            self._add(number, JsonProblem("name-conflict", path, None, found))


class _Near:
    """Near duplicates among distinct rows: MinHash and LSH of datasketch (Broder 1997; Leskovec et al., chapter 3)."""

    PERMUTATIONS = 64

    def __init__(self) -> None:
        self._texts: list[tuple[int, str]] = []

    def add(self, number: int, text: str) -> None:
        self._texts.append((number, text))

    @staticmethod
    def _shingles(text: str) -> set[str]:
        return {text[i : i + 3] for i in range(max(1, len(text) - 2))}

    def pairs(self) -> Iterator[tuple[int, int, float]]:
        """(line, earlier line, exact Jaccard similarity of at least SIMILAR); one earlier line for each line."""
        if len(self._texts) < 2:
            return
        import zlib

        from datasketch import MinHash, MinHashLSH  # half a second, so only here

        index = MinHashLSH(params=(16, 4), num_perm=self.PERMUTATIONS)
        empty = MinHash(self.PERMUTATIONS, seed=1, hashfunc=lambda data: zlib.crc32(data))
        for position, (number, text) in enumerate(self._texts):
            shingles = self._shingles(text)
            sketch = empty.copy()
            sketch.update_batch([s.encode() for s in shingles])
            best, share = None, 0.0
            for other in index.query(sketch)[:50]:
                against = self._shingles(self._texts[other][1])
                alike = len(shingles & against) / len(shingles | against)
                if alike > share:
                    best, share = other, alike
            if best is not None and share >= SIMILAR:
                yield number, self._texts[best][0], share
            else:
                index.insert(position, sketch)


def validate_stream(stream: BinaryIO, validator: Validator) -> None:
    for number, block in blocks(stream):
        validator.block(number, block and Block(block))
    validator.close()


def token_counter(folder: str) -> Callable[[str], int]:
    """Counts the tokens of a text with folder/tokenizer.json; no chat tokens are added. Raises UserError."""
    path = Path(folder) / "tokenizer.json"
    remedy = tr("name a folder with a tokenizer.json", "请给出含 tokenizer.json 的目录")
    try:
        from tokenizers import Tokenizer
    except ImportError:
        missing = tr("the package tokenizers is not installed", "没有安装 tokenizers")
        raise UserError("--tokenizer", missing, tr("run make setup", "请运行 make setup")) from None
    if not path.is_file():
        raise UserError(path, tr("no such file", "没有这个文件"), remedy)
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the Rust binding raises plain Exception
        raise UserError(path, shorten(str(error)), remedy) from None
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False))


def profile_tokenizer() -> str | None:
    """The folder of the tiny base, when that is the profile and both its tokenizer and the package are there."""
    folder = ROOT / "data" / "tiny-base"
    usable = Values({}).profile == "tiny" and importlib.util.find_spec("tokenizers")
    return str(folder) if usable and (folder / "tokenizer.json").is_file() else None


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(prog="python -m recipe.validate", description=__doc__.splitlines()[0])
    result.add_argument(
        "files", nargs="*", metavar="FILE", help=tr("JSON Lines, also .gz or .zst; -", "JSON Lines，可为 .gz、.zst；-")
    )
    result.add_argument("--name", default=None, help=tr("what the assistant calls itself", "助手的自称"))
    result.add_argument("--format", default="auto", choices=["auto", *KEYS], help=tr("of the rows", "数据行的格式"))
    result.add_argument("--report", default="text", choices=list(REPORTS))
    result.add_argument(
        "--limit", type=int, default=None, metavar="N", help=tr("findings listed for each rule", "每种问题最多列出几条")
    )
    result.add_argument("--no-near", action="store_true", help=tr("do not look for near duplicates", "不查找近似重复"))
    result.add_argument(
        "--tokenizer",
        default=None,
        metavar="DIR",
        help=tr(
            "count tokens with it; default: the tiny base's where it is installed, '' is none",
            "用它数 token；默认 tiny 基座的（若已安装），'' 为不数",
        ),
    )
    result.add_argument("--max_length", type=int, default=2048, metavar="TOKENS")
    result.add_argument("--output", default=None, metavar="FILE", help=tr("write the report there", "报告写到此文件"))
    result.add_argument("--lang", default=None)
    return result


def _main(arguments: Sequence[str]) -> int:
    options = parser().parse_args(arguments)
    set_language(options.lang)
    if options.limit is not None and options.limit < 1:
        raise UserError(f"--limit {options.limit}", tr("not a positive number", "不是正数"), "--limit 100")
    findings = Findings(
        ROW_RULES, max(LIMIT, options.limit or 0) if options.report == "text" else options.limit or LIMIT
    )
    tokenizer = options.tokenizer if options.tokenizer is not None else profile_tokenizer()
    tokens = token_counter(tokenizer) if tokenizer else None
    names = [options.name] if options.name else [] if options.files else [Values({}).old_name]
    near = not options.no_near and importlib.util.find_spec("datasketch") is not None
    if not near and not options.no_near:
        print(
            tr(
                "near duplicates are not looked for: datasketch is not installed (make setup)",
                "不查找近似重复：没有安装 datasketch（make setup）",
            ),
            file=sys.stderr,
        )
    for file in options.files or [Values({}).src]:
        validator = Validator(
            file,
            findings,
            names,
            options.format,
            near,
            tokens,
            options.max_length,
        )
        with open_bytes(file) as stream:
            validate_stream(stream, validator)
        if not validator.rows and not findings.total:
            raise UserError(file, tr("no rows", "没有数据行"), tr("name a file with rows", "请给出有数据的文件"))
        for line in validator.facts():
            print(f"{file}: {line}", file=sys.stderr)
    with contextlib.ExitStack() as stack:
        out = stack.enter_context(atomic(options.output)) if options.output else sys.stdout
        if options.report == "text":
            report_text(findings, out, options.limit or LISTED, options.limit or LISTED)
        else:
            REPORTS[options.report](findings, out)
    said = tr(
        f"{findings.errors} errors, {findings.warnings} warnings",
        f"{findings.errors} 个错误，{findings.warnings} 个警告",
    )
    print(said, file=sys.stderr)
    return 1 if findings.total else 0


def main(arguments: Sequence[str], stdout=None, stderr=None) -> int:
    """Exit status: 0 clean, 1 findings, 2 unusable input."""
    return cli.guarded(lambda: _main(arguments), stdout, stderr)
