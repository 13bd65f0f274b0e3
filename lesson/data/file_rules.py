"""Rules that only several rows together show: system prompts that stand out, questions whose answers disagree."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace

from lesson.core.messages import tr
from lesson.core.strict_json import JsonProblem
from lesson.core.text import shorten
from lesson.data.row_rules import find_unknown_keys
from lesson.data.rules import NAMES_NAME, TELLS_NAME, asks_name

REMEMBERED = 100_000  # distinct rows and questions that are remembered to find repeats: bounds memory for any file
MOST_PROMPTS = 1000  # distinct system prompts that are counted
MOST_KEYS = 1000  # distinct keys that are ignored, of which each is told once
FEWEST_SPEAKING = 30  # distinct rows from which it is worth naming the few that do not say the name
SILENT_SHARE = 33  # they are few when they are at most one in so many
LISTED_LINES = 100  # of them
FEWEST_ROWS = 100  # distinct rows below which no system prompt is odd


class SystemPrompts:
    """How many distinct rows have which system prompt."""

    def __init__(self) -> None:
        self._counts: dict[int, list] = {}  # hash of a prompt: first line, distinct rows, its start

    def count_prompt(self, line: int, prompt: str) -> None:
        """Take in the system prompt of a distinct row, "" for none; `line` is where the row stands."""
        if (key := hash(prompt)) in self._counts:
            self._counts[key][1] += 1
        elif len(self._counts) < MOST_PROMPTS:
            self._counts[key] = [line, 1, shorten(prompt)]

    def find_odd(self) -> Iterator[tuple[int, str]]:
        """(first line, what was found) of prompts in at most one row of a hundred, where most rows share one prompt."""
        rows = sum(count for _, count, _ in self._counts.values())
        usual = max((count for _, count, _ in self._counts.values()), default=0)
        if rows >= FEWEST_ROWS and usual * 2 > rows:
            for line, count, text in self._counts.values():
                if count * 100 <= rows:
                    text = text if text.strip() else tr("no system prompt", "没有 system")
                    yield line, tr(f"{count} of {rows} rows: {text}", f"{rows} 行中只有 {count} 行：{text}")


class IgnoredKeys:
    """Keys that training ignores, each told once a file: one that stands in every row is one thing to know."""

    def __init__(self) -> None:
        # (whether it is in a turn, what was found): first line, problem, rows, last line
        self._entries: dict[tuple[bool, str], list] = {}
        self._of_rows: dict[str, list] = {}  # the same by the key, for keys of rows

    def count_problem(self, line: int, problem: JsonProblem) -> bool:
        """Take in a finding; False when there are so many that it has to be told by itself."""
        key = (problem.path.startswith("$.conversation"), problem.found)
        if key not in self._entries:
            if len(self._entries) >= MOST_KEYS:
                return False
            self._entries[key] = [line, problem, 0, 0]
        self._count(self._entries[key], line)
        return True

    def count_key(self, line: int, key: str) -> list[JsonProblem]:
        """Take in the key of a row, quickly; gives back what has to be told by itself."""
        if key in self._of_rows:
            self._count(self._of_rows[key], line)
            return []
        (problem,) = find_unknown_keys([key], frozenset(), "$")
        if not self.count_problem(line, problem):
            return [problem]
        self._of_rows[key] = self._entries[False, problem.found]
        return []

    @staticmethod
    def _count(entry: list, line: int) -> None:
        entry[2] += entry[3] != line
        entry[3] = line

    def find(self) -> Iterator[tuple[int, JsonProblem]]:
        """(first line, what was found, with the number of rows) of each key."""
        for line, problem, rows, _ in self._entries.values():
            more = tr(f", in {rows} rows", f"，共 {rows} 行") if rows > 1 else ""
            yield line, replace(problem, found=problem.found + more)


class Answers:
    """The answers that distinct rows give, and whether they say one of the `names`.

    The texts are those of canonical rows, with their escapes.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._name = names[0] if names else None
        self._raw_names = [json.dumps(name, ensure_ascii=False)[1:-1] for name in names]
        # Hash of a question: distinct answers; the first line with one of the names, with another; 0 for none.
        self._questions: dict[int, list[int]] = {}
        self._rows = self._silent = 0  # distinct rows; those among them in which no answer says a name
        self._silent_lines: list[int] = []  # of the first of them

    @property
    def distinct_questions(self) -> int:
        """How many different questions there are."""
        return len(self._questions)

    def _says(self, answer: str) -> bool:
        # any() takes twice as long, and this is done for each row.
        for name in self._raw_names:  # noqa: SIM110
            if name in answer:
                return True
        return False

    def compare_row(self, line: int, turns: Sequence[tuple[str, str]]) -> Sequence[JsonProblem]:
        """What is wrong with the answers of the distinct row in `line`, as to the name; (question, answer) of each turn."""
        question, answer = turns[0]
        key = hash(question.strip())
        if key in self._questions:
            entry = self._questions[key]
            entry[0] += 1
        else:
            entry = self._questions[key] = [1, 0, 0]
        if not self._raw_names:
            return ()
        self._rows += 1
        says = self._raw_names[0] in answer or self._says(answer)
        if says and len(turns) == 1 and not NAMES_NAME.search(question):
            return ()  # nothing to tell: most rows
        if not says and not any(self._says(answer) for _, answer in turns[1:]):
            self._silent += 1
            if len(self._silent_lines) < LISTED_LINES:
                self._silent_lines.append(line)
        problems = []
        if NAMES_NAME.search(question):
            problems = self._conflict(line, entry, says, answer)
            if not says:
                problems = self._missing(0, question) + problems
        for index, (question, answer) in enumerate(turns[1:], 1):
            if NAMES_NAME.search(question) and not self._says(answer):
                problems += self._missing(index, question)
        return problems

    def _missing(self, index: int, question: str) -> list[JsonProblem]:
        """A finding when the question of this turn, whose answer says no name, asks for the name."""
        if not asks_name(question):
            return []
        found = tr(
            f"asked {shorten(question)!r}, the answer never says {self._name}",
            f"问「{shorten(question)}」，回答没有提到 {self._name}",
        )
        return [JsonProblem("name-missing", f"$.conversation[{index}].output", None, found)]

    @staticmethod
    def _conflict(line: int, entry: list[int], says: bool, answer: str) -> list[JsonProblem]:
        """A finding when this answer and another one to the same question tell different names."""
        if says:
            entry[1] = entry[1] or line
        elif TELLS_NAME.search(answer):
            entry[2] = entry[2] or line
        if not (entry[1] and entry[2] and line in entry[1:]):
            return []
        other = min(entry[1:])
        found = tr(f"line {other} answers the same question with another name", f"第 {other} 行对同一问题的自称不同")
        return [JsonProblem("name-conflict", "$.conversation[0].output", None, found)]

    def find_silent(self) -> Iterator[tuple[int, str]]:
        """(first line, what was found) where nearly all rows say the name: those that do not, once."""
        if self._rows >= FEWEST_SPEAKING and 0 < self._silent * SILENT_SHARE <= self._rows:
            lines = ", ".join(map(str, self._silent_lines)) + (" …" if self._silent > len(self._silent_lines) else "")
            says = self._rows - self._silent
            yield (
                self._silent_lines[0],
                tr(
                    f"{says} of {self._rows} rows say {self._name}, not so line {lines}",
                    f"{self._rows} 行中有 {says} 行提到 {self._name}，没有提到的是第 {lines} 行",
                ),
            )

    def describe_repeats(self) -> Iterator[str]:
        """A line that says how many questions have several answers, if any."""
        counts = [answers for answers, _, _ in self._questions.values()]
        if several := sum(answers > 1 for answers in counts):
            yield tr(
                f"{several} questions have several answers (at most {max(counts)})",
                f"{several} 个问题有多个回答（最多 {max(counts)} 个）",
            )
