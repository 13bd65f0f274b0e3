"""Rules that only several rows together show: system prompts that stand out, questions whose answers disagree."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from lesson.core.messages import tr
from lesson.core.strict_json import JsonProblem
from lesson.core.text import shorten
from lesson.data.rules import ASKS_NAME, TELLS_NAME

REMEMBERED = 100_000  # distinct rows and questions that are remembered to find repeats: bounds memory for any file
MOST_PROMPTS = 1000  # distinct system prompts that are counted
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
                    yield line, tr(f"{count} of {rows} rows: {text}", f"{rows} 行中只有 {count} 行：{text}")


class Answers:
    """The answers that distinct rows give to their first questions, and whether they say one of the `names`.

    The texts are those of canonical rows, with their escapes.
    """

    PATH = "$.conversation[0].output"

    def __init__(self, names: Sequence[str]) -> None:
        self._name = names[0] if names else None
        self._raw_names = [json.dumps(name, ensure_ascii=False)[1:-1] for name in names]
        # Hash of a question: distinct answers; the first line with one of the names, with another; 0 for none.
        self._questions: dict[int, list[int]] = {}

    @property
    def distinct_questions(self) -> int:
        """How many different questions there are."""
        return len(self._questions)

    def compare_answer(self, line: int, question: str, answer: str) -> list[JsonProblem]:
        """What is wrong with the answer of the distinct row in `line`, as to the name."""
        entry = self._questions.setdefault(hash(question.strip()), [0, 0, 0])
        entry[0] += 1
        if not self._raw_names:
            return []
        problems = []
        if any(name in answer for name in self._raw_names):
            entry[1] = entry[1] or line
        else:
            if TELLS_NAME.search(answer):
                entry[2] = entry[2] or line
            if ASKS_NAME.search(question):
                found = tr(
                    f"asked {shorten(question)!r}, the answer never says {self._name}",
                    f"问「{shorten(question)}」，回答没有提到 {self._name}",
                )
                problems.append(JsonProblem("name-missing", self.PATH, None, found))
        if entry[1] and entry[2] and line in entry[1:]:
            other = min(entry[1:])
            found = tr(
                f"line {other} answers the same question with another name", f"第 {other} 行对同一问题的自称不同"
            )
            problems.append(JsonProblem("name-conflict", self.PATH, None, found))
        return problems

    def describe_repeats(self) -> Iterator[str]:
        """A line that says how many questions have several answers, if any."""
        counts = [answers for answers, _, _ in self._questions.values()]
        if several := sum(answers > 1 for answers in counts):
            yield tr(
                f"{several} questions have several answers (at most {max(counts)})",
                f"{several} 个问题有多个回答（最多 {max(counts)} 个）",
            )
