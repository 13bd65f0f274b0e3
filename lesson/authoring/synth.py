"""A fresh self-cognition set for any name, made from the question banks and answer patterns of data/banks."""

from __future__ import annotations

import io
import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from lesson.authoring.banks import read_bank, read_kind_numbers
from lesson.authoring.course_rows import list_course_cores, list_personas, phrase_identity_question
from lesson.authoring.facts import list_facts
from lesson.authoring.held_out import fold_held_out_questions
from lesson.core.files import Record, atomic
from lesson.core.findings import Findings, report_text
from lesson.core.layout import synthetic_rows
from lesson.core.messages import UserError, tr
from lesson.core.settings import Values
from lesson.core.text import fold_text
from lesson.data.rules import ROW_RULES
from lesson.data.validator import Validator, validate_stream

ROWS = 1000  # unless ROWS is set
MULTI_TURN = 0.15  # share of talks of two or three turns


class SyntheticTalks:
    """An endless, seeded stream of talks about an assistant called `name`, made by `author` (may be empty).

    `general` is the share of turns that ask for a fact.
    """

    def __init__(self, name: str, author: str, general: float, seed: int) -> None:
        self._random = random.Random(seed)
        self._name, self._author, self._general = name, author, general
        self._held_out = fold_held_out_questions()
        self._facts = list_facts()
        self._weights = read_kind_numbers("identity", "weights") | read_kind_numbers("synth", "weights")
        self._personas = list_personas(name)

    def _draw_identity_turn(self) -> tuple[str, str]:
        """A question about the assistant and its answer."""
        bank, random_ = read_bank("synth"), self._random
        kind = random_.choices(list(self._weights), list(self._weights.values()))[0]
        topic, language = kind
        if topic == "refusal":  # requests to be someone else; no other assistant is named in an answer
            refusals = bank["refusals"][language]
            others = [other for other in read_bank("identity")["other_assistants"] if other != self._name]
            other = random_.choice(others)
            question, answer = (
                random_.choice(refusals["requests"]).format(other=other),
                random_.choice(refusals["answers"]),
            )
        else:
            core = random_.choice(list_course_cores(kind))
            question = phrase_identity_question(random_, kind, core)
            by_author = self._author and topic == "maker"
            answers = bank["maker_answers"] if by_author else read_bank("course")["answers"][topic]
            answer = random_.choice(answers[language])
        return question, answer.format(name=self._name, author=self._author)

    def _draw_general_turn(self) -> tuple[str, str]:
        fact = self._random.choice(self._facts)
        return self._random.choice(fact.questions), fact.answers[0]

    def _draw_turn(self) -> tuple[str, str]:
        """A turn whose question is not one of the evaluation's."""
        while True:
            general = self._random.random() < self._general
            turn = self._draw_general_turn() if general else self._draw_identity_turn()
            if fold_text(turn[0]) not in self._held_out:
                return turn

    def _draw_system_prompt(self) -> str:
        """The persona mostly, else none or a neutral prompt, so that the name holds under all."""
        draw = self._random.random()
        usual, *others = self._personas
        if draw < 0.6:
            return usual
        if draw < 0.75:
            return ""
        return self._random.choice(read_bank("course")["neutral_prompts"] if draw < 0.88 else others)

    def draw_row(self) -> dict:
        """{"conversation": [{"system", "input", "output"}, …]} of one to three turns."""
        turns = 1 if self._random.random() >= MULTI_TURN else self._random.choice((2, 2, 3))
        talk = [dict(zip(("input", "output"), self._draw_turn(), strict=True)) for _ in range(turns)]
        return {"conversation": [{"system": self._draw_system_prompt(), **talk[0]}, *talk[1:]]}


def make_synthetic_rows(name: str, author: str, count: int, general: float, seed: int) -> list[str]:
    """`count` different rows as JSON text. Raises UserError when the banks do not hold so many."""
    talks, made = SyntheticTalks(name, author, general, seed), {}
    for _ in range(count * 50):
        if len(made) == count:
            return list(made)
        made[json.dumps(talks.draw_row(), ensure_ascii=False)] = None
    if len(made) == count:
        return list(made)
    raise UserError(
        f"ROWS={count}",
        tr(f"only {len(made)} different rows were found", f"只能得到 {len(made)} 个不同的行"),
        tr(f"set ROWS to at most {len(made)}", f"请把 ROWS 设为不超过 {len(made)}"),
    )


@dataclass(frozen=True)
class SyntheticSet:
    """The file that was written, the name in it, and what the check of its rows counted, in lines."""

    path: Path
    name: str
    counted: tuple[str, ...]


def write_synthetic_set(values: Values, problems: TextIO) -> SyntheticSet:
    """Make the set that `values` ask for, check it and write it below BUILD, with its record.

    Raises UserError when the rows are not valid (a name or author that is a placeholder, say; the findings go to
    `problems` then), when there are not so many, and when a file that the user edited would be overwritten.
    """
    name, author, general, seed = values.new_name, values.author or "", values.general, values.seed
    count = values.rows if values.given("ROWS") else ROWS
    target = synthetic_rows(values.build)
    parameters = {"name": name, "author": author, "rows": count, "general": general, "seed": seed}
    record = Record(target, {}, parameters)
    record.guard(values.force)
    text = "".join(row + "\n" for row in make_synthetic_rows(name, author, count, general, seed))
    findings = Findings(ROW_RULES)
    validator = Validator(str(target), findings, [name], near=False)
    validate_stream(io.BytesIO(text.encode()), validator)
    if findings.errors:
        report_text(findings, problems)
        raise UserError(
            f"NEW_NAME={name}",
            tr("gives rows with errors", "会产生有错误的数据行"),
            tr("choose another name", "请换一个名字"),
        )
    with atomic(target) as file:
        file.write(text)
    record.write(questions=validator.distinct_questions)
    return SyntheticSet(target, name, tuple(validator.describe_counts()))


def lines_of(made: SyntheticSet) -> list[str]:
    """What was counted, where it was written, and the command that comes next."""
    return [
        *made.counted,
        tr(f"written: {made.path}", f"已写出：{made.path}"),
        tr(
            f"next: make data SRC={made.path} NEW_NAME={made.name}",
            f"下一步：make data SRC={made.path} NEW_NAME={made.name}",
        ),
    ]
