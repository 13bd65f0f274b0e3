"""The validator: one file of rows, checked block by block, line by line where need be, and as a whole."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

from lesson.core.findings import Findings
from lesson.core.messages import UserError, tr
from lesson.core.strict_json import BROKEN, JsonProblem, parse_strict_json
from lesson.data.file_rules import REMEMBERED, Answers, IgnoredKeys, SystemPrompts
from lesson.data.formats import detect_format
from lesson.data.loader_columns import LoaderColumns
from lesson.data.row_filters import find_suspect_rows, may_hold_numbers, split_fields, usual_order
from lesson.data.row_rules import (
    SHAPE_ERRORS,
    find_row_problems,
    find_shape_problems,
    find_text_problems,
    quote_keys,
    texts_of,
)
from lesson.data.rows import CANONICAL_ROWS, LONGEST_LINE, REORDERED_ROWS, Block, open_bytes, read_blocks, split_lines
from lesson.data.sources import find_other_source

HEAD = 4096  # bytes that tell what a file is when its first line is too long to be read


class Validator:
    """Checks one file, given block by block; `close` adds what only the whole file shows.

    `names` are what the assistant may call itself in the rows, the usual one first, when that is known. `form` is the
    format of the rows, or "auto". `near` looks for near duplicates. `tokens` counts the tokens of a text; a row of more
    than `max_length` of them is found. `replaced` are texts that will be replaced: {{NAME}} may be one.
    `accepts` says which placeholders the user accepts, by line, JSON path and what was found.
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
        replaced: Sequence[str] = (),
        accepts: Callable[[int, str, str], bool] = lambda line, path, found: False,
    ) -> None:
        self.file, self.findings, self._form = file, findings, form
        self._tokens, self._max_length = tokens, max_length
        self._replaced, self._accepts = replaced, accepts
        self.rows = self.turns = self.blank = self.crlf = self.repeats = 0
        self._first_blank = self._first_crlf = 0
        self._seen: dict[int, int] = {}  # hash of a row: its first line
        self._seen_reordered: set[int] = set()  # hashes of rows as they stand, whose keys are in another order
        self._again: dict[int, int] = {}  # hash of a repeated row: how many more there are
        self._dirty: set[int] = set()  # hashes of rows that had findings: looked at again each time
        self._prompts, self._answers = SystemPrompts(), Answers(names)
        self._near = None
        if near:
            from lesson.data.near_duplicates import NearDuplicates  # make data and the checks do without

            self._near = NearDuplicates()
        self._format_reported = self._foreign = self._stop = self._started = False
        self._ignored = IgnoredKeys()
        self._columns = LoaderColumns()
        self._dumped: list[str] | None = None  # the block's rows as json.dumps writes them, while all can be had
        self._waiting: list[str] = []  # rows made canonical, of lines that follow each other from _waiting_at on
        self._waiting_at = 0

    @property
    def distinct_questions(self) -> int:
        """Distinct first questions, among at most REMEMBERED distinct rows."""
        return self._answers.distinct_questions

    def check_block(self, number: int, block: Block | None) -> None:
        """Check whole lines, of which the first has the number `number`; None is a line that was too long to be read."""
        if self._stop:
            return
        if block is None:
            if self._is_other_source(number, self._head_of_long_line()):
                return
            self._started = True
            self._add_problem(
                number,
                JsonProblem("too-long", "", None, tr(f"more than {LONGEST_LINE} bytes", f"超过 {LONGEST_LINE} 字节")),
            )
            return
        if not self._started and self._is_other_source(number, block.data):
            return
        text, self._dumped = block.text, []
        parsed = text is None or "\r" in text or self._form not in ("auto", "xtuner")
        if parsed:
            self._line_ends(number, block.data)
            for line in split_lines(block.data):
                self._line(number, line)
                number += 1
        else:
            parsed = self._mixed_block(number, block)
        self._flush()
        if parsed and self._dumped:
            block.dumped = Block("".join(self._dumped).encode(), written_by_json=True)

    def _mixed_block(self, number: int, block: Block) -> bool:
        """Canonical rows together, all others one by one; gives back whether any had to be parsed."""
        text, numbers, parsed = block.text, may_hold_numbers(block.data), False
        start, end = 0, block.usual
        while True:
            if end > start:
                self._flush()
                self._keep_text(text[start:end], number, block)
                number = self._canonical(number, text[start:end], numbers)
            if end == len(text):
                return parsed
            start = end
            end = block.canonical if start == block.usual else REORDERED_ROWS.match(text, start).end()
            if end > start:
                self._flush()
                self._keep_text(text[start:end], number, block)
                number = self._reordered(number, text[start:end], numbers)
            if end == len(text):
                return parsed
            start, parsed = text.index("\n", end) + 1, True
            self._text(number, text[end : start - 1])
            number += 1
            end = CANONICAL_ROWS.match(text, start).end()

    def _keep_text(self, rows: str, number: int, block: Block) -> None:
        """Remember canonical rows of this block, and see what the loader of the training makes of them."""
        size = len(block.data) if len(rows) == len(block.text) else len(rows.encode())
        self._see_columns(number, self._columns.take_canonical(rows, size))
        if self._dumped is not None:
            self._dumped.append(rows)

    def _keep_line(self, line: str | None) -> None:
        """The same of a line that was parsed; None where it has no such form."""
        if line is None:
            self._dumped = None
        elif self._dumped is not None:
            self._dumped.append(line + "\n")

    def _see_columns(self, number: int, problems: list[tuple[int, JsonProblem]]) -> None:
        for index, problem in problems:
            self._add_problem(number + index, problem)

    def finish(self) -> None:
        """Add the findings about the file as a whole."""
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
            for line, twin, share in self._near.find_pairs():
                found = tr(f"{share:.0%} like line {twin}", f"与第 {twin} 行相似 {share:.0%}")
                self.findings.add_finding(self.file, line, "near-duplicate", found)
        for line, found in self._answers.find_silent():
            self.findings.add_finding(self.file, line, "name-rare", found)
        for line, problem in self._ignored.find():
            self.findings.add_finding(self.file, line, problem.rule, problem.found, problem.path, problem.column)
        for line, found in self._prompts.find_odd():
            self.findings.add_finding(self.file, line, "odd-system", found, "$.conversation[0].system")

    def describe_counts(self) -> Iterator[str]:
        """What was counted, as lines for people."""
        yield tr(
            f"{self.rows} rows, {self.turns} turns, {self.distinct_questions} distinct questions, {self.repeats} rows repeat another",
            f"{self.rows} 行，{self.turns} 轮，{self.distinct_questions} 个不同的问题，{self.repeats} 行与其他行重复",
        )
        yield from self._answers.describe_repeats()
        if len(self._seen) >= REMEMBERED:
            yield tr(
                f"repeats were looked for among the first {REMEMBERED} distinct rows",
                f"只在前 {REMEMBERED} 个不同的行中查找重复",
            )

    def _add_problem(self, number: int, problem: JsonProblem) -> None:
        if problem.rule.startswith("placeholder") and (
            any(old in problem.found for old in self._replaced) or self._accepts(number, problem.path, problem.found)
        ):
            return
        if problem.rule == "unknown-key" and not problem.severity and self._ignored.count_problem(number, problem):
            return
        self.findings.add_finding(
            self.file, number, problem.rule, problem.found, problem.path, problem.column, problem.severity
        )

    def _is_other_source(self, number: int, head: bytes) -> bool:
        """What is not JSON Lines in UTF-8 gets one finding, not one for each line."""
        if not head.strip(b"\xef\xbb\xbf \t\r\n"):
            return False
        self._started = True
        problem = find_other_source(head, self.file)
        if problem is None:
            return False
        self._add_problem(number, problem)
        self._stop = True
        return True

    def _head_of_long_line(self) -> bytes:
        """The start of the file whose first line is too long to be read: it may be a whole document."""
        if self._started:
            return b""
        with contextlib.suppress(UserError, OSError), open_bytes(self.file) as stream:
            return stream.read(HEAD)
        return b""

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
            self._keep_line(None)
            found = tr(f"the byte 0x{line[error.start]:02x}", f"字节 0x{line[error.start]:02x}")
            self._add_problem(number, JsonProblem("not-utf8", "", error.start + 1, found))

    def _text(self, number: int, line: str) -> None:
        """One line that is not known to be canonical."""
        if not line.strip(" \t\r\n"):
            self.blank += 1
            self._first_blank = self._first_blank or number
            self._keep_line(None)
            return
        value, problems = parse_strict_json(line)
        for problem in problems:
            self._add_problem(number, problem)
        value = BROKEN if value is BROKEN else self._in_xtuners_format(number, value)
        if value is BROKEN:
            self.rows += 1
            self._keep_line(None)
            return
        canonical = json.dumps(value, ensure_ascii=False)
        self._keep_line(None if problems else canonical)
        if any(problem.rule == "lone-surrogate" for problem in problems):
            self.rows += 1
            for problem in find_row_problems(value):
                self._add_problem(number, problem)
            return
        size = len(line.encode()) + 1
        if plain := self._plain_text(number, canonical, value):
            self._see_columns(number, self._columns.take_plain(plain, value, size))
        else:
            shape = list(find_shape_problems(value))
            for problem in shape:
                self._add_problem(number, problem)
            if any(problem.rule in SHAPE_ERRORS for problem in shape):
                self.rows += 1
                for problem in find_text_problems(value):
                    self._add_problem(number, problem)
                return
            self._see_columns(number, self._columns.take_row(value, size))
            plain = json.dumps(texts_of(value), ensure_ascii=False)  # for the rules of texts and of whole files
        if number != self._waiting_at + len(self._waiting):
            self._flush()
            self._waiting_at = number
        self._waiting.append(plain)

    def _plain_text(self, number: int, canonical: str, value: object) -> str:
        """A row as canonical text in the usual order, "" where that takes more than leaving out what training ignores."""
        if isinstance(value, dict) and len(value) > 1 and isinstance(value.get("conversation"), list):
            canonical = json.dumps({"conversation": value["conversation"]}, ensure_ascii=False)
        if not REORDERED_ROWS.fullmatch(canonical + "\n"):
            return ""
        for key in [key for key in value if key != "conversation"]:
            for problem in self._ignored.count_key(number, key):
                self._add_problem(number, problem)
        return usual_order(canonical)

    def _in_xtuners_format(self, number: int, value: object) -> object:
        """The row in XTuner's format, with a finding when it had another one; BROKEN where it cannot be had."""
        form = self._form if self._form != "auto" else detect_format(value)
        if form is None:
            first = not self.rows and not self._waiting
            if isinstance(value, dict) and value and (self._foreign or first):
                if not self._foreign:
                    self._foreign = True
                    found = tr("rows with the keys ", "数据行的键为 ") + quote_keys(value)
                    self._add_problem(number, JsonProblem("unknown-format", "$", None, found))
                return BROKEN
            return value
        if form == "xtuner":
            return value
        from lesson.data.conversion import Unconvertible, convert_leniently  # only where needed

        if self._form == "auto" and not self._format_reported:
            self._format_reported = True
            found = tr(f"rows of the format {form}", f"{form} 格式的数据行")
            self._add_problem(number, JsonProblem("other-format", "$", None, found))
        try:
            return convert_leniently(value, form)
        except Unconvertible as error:
            self._add_problem(number, JsonProblem("not-convertible", error.path, None, error.found))
            return BROKEN

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
            for index in find_suspect_rows(text, numbers):
                self._look_closer(number + index, rows[index])
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
            suspect = find_suspect_rows(together, numbers)
            found = set()
            for index, (line_number, key, row) in enumerate(fresh):
                first = seen.get(key) == line_number
                if index in suspect and self._look_closer(line_number, row) and first:
                    found.add(key)
                if self._tokens or first:
                    self._fresh(line_number, row, first)
            if found:  # rows of this very block may repeat them
                self._dirty |= found
                for line_number, key, row in zip(range(number, number + len(rows)), keys, rows, strict=True):
                    if key in found and seen[key] != line_number:
                        self._look_closer(line_number, row)
        return number + len(rows)

    def _reordered(self, number: int, text: str, numbers: bool) -> int:
        """The same of rows whose keys stand in any order."""
        rows = text[:-1].split("\n")
        keys = list(map(hash, rows))
        if len(self._seen) >= REMEMBERED and not self._tokens and self._seen_reordered.isdisjoint(keys):
            self.rows += len(rows)  # none is remembered, so none has to be put into the usual order
            self.turns += text.count('"output": "')
            for index in find_suspect_rows(text, numbers):
                self._look_closer(number + index, rows[index])
            return number + len(rows)
        if len(self._seen_reordered) < REMEMBERED:
            self._seen_reordered.update(keys)
        return self._canonical(number, usual_order(text), numbers)

    def _repeat(self, number: int, key: int, row: str) -> None:
        self.repeats += 1
        self._again[key] = self._again.get(key, 0) + 1
        if key in self._dirty:
            self._look_closer(number, row)

    def _fresh(self, number: int, row: str, remembered: bool) -> None:
        """A row that was not seen before, as canonical text."""
        if not self._near and not self._tokens and "\\" not in row:
            parts = row.split('"')
            if len(parts) in (11, 15):  # one turn, without or with a system prompt: most rows, so without a detour
                self._prompts.count_prompt(number, parts[5] if len(parts) == 15 else "")
                for problem in self._answers.compare_row(number, ((parts[-6], parts[-2]),)):
                    self._add_problem(number, problem)
                return
        fields = split_fields(row)
        if remembered:
            self._compare(number, fields)
            if self._near and len(self._seen) <= self._near.MOST_ROWS:
                self._near.add_text(number, "\n".join(text for key, text in fields if key != "system"))
        if self._tokens:
            count = sum(self._tokens(json.loads(f'"{text}"')) for _, text in fields)
            if count > self._max_length:
                found = tr(
                    f"{count} tokens, max_length is {self._max_length}",
                    f"{count} 个 token，max_length 为 {self._max_length}",
                )
                self._add_problem(number, JsonProblem("too-many-tokens", "$", None, found))

    def _look_closer(self, number: int, line: str) -> bool:
        problems = list(find_row_problems(json.loads(line)))
        for problem in problems:
            self._add_problem(number, problem)
        return bool(problems)

    def _compare(self, number: int, fields: list[tuple[str, str]]) -> None:
        """What a distinct row says, held against the other rows. `fields` are in the usual order, turn by turn."""
        has_prompt = fields[0][0] == "system"
        self._prompts.count_prompt(number, fields[0][1] if has_prompt else "")
        rest = fields[1:] if has_prompt else fields
        if len(rest) == 2:
            turns = ((rest[0][1], rest[1][1]),)
        else:
            said = [text for key, text in rest if key != "system"]
            turns = tuple(zip(said[::2], said[1::2], strict=True))
        for problem in self._answers.compare_row(number, turns):
            self._add_problem(number, problem)


def validate_stream(stream: BinaryIO, validator: Validator) -> None:
    """Check all of one file."""
    for number, block in read_blocks(stream):
        validator.check_block(number, block and Block(block))
    validator.finish()
