"""Statistics of training rows: how many, how long, in which language, how often the name is said and where."""

from __future__ import annotations

import collections
import zlib
from collections.abc import Callable

from lesson.core.findings import ERROR
from lesson.core.messages import UserError, tr
from lesson.data.conversion import Unconvertible, convert_leniently
from lesson.data.file_rules import REMEMBERED
from lesson.data.formats import detect_format
from lesson.data.row_rules import SHAPE_ERRORS, find_shape_problems, texts_of
from lesson.data.sources import read_source

FIELDS = ("system", "input", "output")


class Lengths:
    """How long texts are: a count for each length, so that memory does not grow with the rows."""

    def __init__(self) -> None:
        self.counts: collections.Counter[int] = collections.Counter()

    def add_length(self, length: int) -> None:
        """Count one text."""
        self.counts[length] += 1

    @property
    def sum(self) -> int:
        """All lengths together."""
        return sum(length * count for length, count in self.counts.items())

    def quantile(self, share: float) -> int:
        """The smallest length that at least `share` of the texts do not exceed."""
        rest = share * self.counts.total()
        for length, count in sorted(self.counts.items()):
            rest -= count
            if rest <= 0:
                return length
        return 0

    def summary(self) -> dict[str, float]:
        """The figures of a table's row: how many texts, and their lengths."""
        number = self.counts.total()
        return {
            "texts": number,
            "min": min(self.counts, default=0),
            "median": self.quantile(0.5),
            "mean": round(self.sum / number, 1) if number else 0,
            "p95": self.quantile(0.95),
            "max": max(self.counts, default=0),
        }


def detect_language(text: str) -> str:
    """zh, en, mixed or other, by letters: one language from nine tenths of them on; a Han character counts for two."""
    han = 2 * sum("\u3400" <= c <= "\u9fff" for c in text)
    latin = sum(c.isascii() and c.isalpha() for c in text)
    if han + latin == 0:
        return "other"
    return "zh" if han >= 9 * latin else "en" if latin >= 9 * han else "mixed"


class RowStatistics:
    """Counts over all rows given to `add_row`."""

    def __init__(self, name: str | None = None, tokens: Callable[[str], int] | None = None) -> None:
        self.name, self._tokens = name, tokens
        self.rows = self.turns = self.unusable = 0
        self.questions: collections.Counter[str] = collections.Counter()
        self.systems: collections.Counter[str] = collections.Counter()
        self.languages: collections.Counter[str] = collections.Counter()
        self.mentions: collections.Counter[str] = collections.Counter()
        self.turns_in_row = Lengths()
        self.characters = {field: Lengths() for field in FIELDS}
        self.tokens = {field: Lengths() for field in FIELDS}
        self.row_tokens = Lengths()
        self._counted: dict[str, int] = {}  # tokens of system prompts, which repeat

    def add_row(self, row: dict) -> None:
        """Count a row of XTuner's format as texts_of gives it."""
        turns = row["conversation"]
        self.rows += 1
        self.turns += len(turns)
        self.turns_in_row.add_length(len(turns))
        self._remember(self.questions, turns[0]["input"].strip())
        self._remember(self.systems, turns[0].get("system", ""))
        self.languages[detect_language("".join(turn["input"] + turn["output"] for turn in turns))] += 1
        total = 0
        for turn in turns:
            for field, text in turn.items():
                self.characters[field].add_length(len(text))
                if self.name and self.name in text:
                    self.mentions[field] += 1
                if self._tokens:
                    count = self._count(field, text)
                    self.tokens[field].add_length(count)
                    total += count
        if self._tokens:
            self.row_tokens.add_length(total)

    @staticmethod
    def _remember(counter: collections.Counter[str], text: str) -> None:
        if len(text) > 200:  # a hostile file must not decide how much is kept
            text = f"{text[:180]}… {zlib.crc32(text.encode()):08x}"
        if text in counter or len(counter) < REMEMBERED:
            counter[text] += 1

    def _count(self, field: str, text: str) -> int:
        if field != "system":
            return self._tokens(text)
        if text not in self._counted:
            if len(self._counted) > 1000:
                self._counted.clear()
            self._counted[text] = self._tokens(text)
        return self._counted[text]

    def result(self) -> dict:
        """All figures, ready for JSON."""
        measured = self.tokens if self._tokens else self.characters
        total = sum(lengths.sum for lengths in measured.values())
        return {
            "rows": self.rows,
            "unusable_rows": self.unusable,
            "turns": self.turns,
            "turns_in_row": self.turns_in_row.summary(),
            "distinct_questions": len(self.questions),
            "most_repeated_questions": [list(item) for item in self.questions.most_common(10)],
            "distinct_system_prompts": len(self.systems),
            "most_common_system_prompts": [list(item) for item in self.systems.most_common(5)],
            "languages": dict(self.languages.most_common()),
            "characters": {field: lengths.summary() for field, lengths in self.characters.items()},
            "tokens": {f: lengths.summary() for f, lengths in self.tokens.items()} if self._tokens else None,
            "tokens_in_row": self.row_tokens.summary() if self._tokens else None,
            "name": self.name,
            "texts_with_name": {field: self.mentions[field] for field in FIELDS} if self.name else None,
            "system_share": round(measured["system"].sum / total, 4) if total else 0,
            "system_share_of": "tokens" if self._tokens else "characters",
        }


def collect_statistics(path: str, form: str, stats: RowStatistics) -> None:
    """Read all rows of `path`; what cannot be counted is counted as unusable. Raises UserError without any row."""
    for source in read_source(path):
        try:
            if source.problems:
                raise Unconvertible("$", source.problems[0].found)
            row = source.value
            row = convert_leniently(row, form if form != "auto" else detect_format(row) or "xtuner")
            if any(p.rule in SHAPE_ERRORS or p.severity == ERROR for p in find_shape_problems(row)):
                raise Unconvertible("$", "")
            row = texts_of(row)
        except Unconvertible:
            stats.unusable += 1
            continue
        stats.add_row(row)
    if not stats.rows:
        raise UserError(
            path, tr("no usable rows", "没有可用的数据行"), tr("see make check-data", "请看 make check-data")
        )
