"""A fresh self-cognition set for any name, made from the banks of data/banks.

System prompts are spread over personas, none, neutral ones and the bases' own defaults, so that the name holds under
each. Questions name other assistants, press, ask for a role or for the maker; general ones keep what the base knew, and
keep the name out of answers where nobody asked for it.
"""

from __future__ import annotations

import io
import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from lesson.authoring.banks import read_bank
from lesson.authoring.held_out import fold_held_out_questions
from lesson.authoring.quotas import share_out
from lesson.authoring.system_prompts import SHARES, draw_system_prompt
from lesson.authoring.talks import Talks
from lesson.authoring.words import NameFinder
from lesson.core.findings import Findings, report_text
from lesson.core.layout import synthetic_rows
from lesson.core.messages import UserError, tr
from lesson.core.records import Record, make_alone
from lesson.core.settings import Values
from lesson.core.text import fold_text
from lesson.data.rules import ROW_RULES
from lesson.data.validator import Validator, validate_stream

ROWS = 2000  # unless ROWS is set
MULTI_TURN = 0.15  # share of rows of two or three turns about the assistant
FRESH_DRAWS = 60  # draws for a talk that no row holds yet, before one is asked again under another system prompt
MOST_DRAWS = 400


@dataclass(frozen=True)
class Mix:
    """What a set is made of: the name, who trained the assistant ("" names nobody), and shares from 0 to 1."""

    name: str
    author: str = ""
    general: float = 0.35
    english: float = 0.5


@dataclass(frozen=True)
class Slot:
    """A row to be made: its language, its kind of talk, and the sort of its system prompt."""

    language: str
    kind: str
    system: str


def plan_rows(mix: Mix, count: int, random_: random.Random) -> list[Slot]:
    """`count` rows with exactly the shares of the mix and the bank's weights in each language, in any order."""
    weights = read_bank("synth")["weights"]
    plan = []
    for language, rows in share_out({"zh": 1 - mix.english, "en": mix.english}, count).items():
        general = round(rows * mix.general)
        talks = min(round(rows * MULTI_TURN), rows - general)
        for group, number in (("general", general), ("talks", talks), ("own", rows - general - talks)):
            kinds, systems = (_shuffled(random_, share_out(shares, number)) for shares in (weights[group], SHARES))
            plan += [Slot(language, kind, system) for kind, system in zip(kinds, systems, strict=True)]
    random_.shuffle(plan)
    return plan


def _shuffled(random_: random.Random, counts: dict[str, int]) -> list[str]:
    keys = [key for key, number in counts.items() for _ in range(number)]
    random_.shuffle(keys)
    return keys


def make_synthetic_rows(mix: Mix, count: int, seed: int) -> list[str]:
    """`count` different rows {"conversation": [{"system", "input", "output"}, …]} as JSON text, the same for the same seed.

    Raises UserError when the banks do not hold so many.
    """
    random_ = random.Random(seed)
    plan = plan_rows(mix, count, random_)
    talks, held_out = Talks(mix.name, mix.author, random_), fold_held_out_questions()
    finder = NameFinder(mix.name)
    made: dict[str, None] = {}
    seen: set[tuple[str, ...]] = set()
    for slot in plan:
        row = _draw_new_row(slot, talks, random_, held_out, finder, mix.name, made, seen)
        if row is None:
            raise UserError(
                f"ROWS={count}",
                tr(f"only {len(made)} different rows were found", f"只能得到 {len(made)} 个不同的行"),
                tr(f"set ROWS to at most {len(made)}", f"请把 ROWS 设为不超过 {len(made)}"),
            )
        made[row] = None
    return list(made)


def _draw_new_row(
    slot: Slot,
    talks: Talks,
    random_: random.Random,
    held_out: frozenset[str],
    finder: NameFinder,
    name: str,
    made: dict[str, None],
    seen: set[tuple[str, ...]],
) -> str | None:
    """A row for the slot that is not among those `made`; None where none is found."""
    nameless = slot.kind in read_bank("synth")["weights"]["general"]
    for attempt in range(MOST_DRAWS):
        try:
            talk = talks.draw(slot.kind, slot.language, greeting=attempt >= FRESH_DRAWS)
        except LookupError:  # no general question without the name
            return None
        questions = tuple(fold_text(question) for question, _ in talk)
        if not held_out.isdisjoint(questions) or (questions in seen and attempt < FRESH_DRAWS):
            continue
        if nameless and any(finder.is_in(text) for turn in talk for text in turn):
            continue
        turns = [{"input": question, "output": answer} for question, answer in talk]
        system = draw_system_prompt(random_, slot.system, slot.language, name)
        row = json.dumps({"conversation": [{"system": system, **turns[0]}, *turns[1:]]}, ensure_ascii=False)
        if row not in made:
            seen.add(questions)
            return row
    return None


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
    name, author, seed = values.new_name, values.author or "", values.seed
    mix = Mix(name, author, values.general, values.english)
    count = values.rows if values.given("ROWS") else ROWS
    target = synthetic_rows(values.build)
    parameters = {
        "name": name,
        "author": author,
        "rows": count,
        "general": mix.general,
        "english": mix.english,
        "seed": seed,
    }
    text = "".join(row + "\n" for row in make_synthetic_rows(mix, count, seed))
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
    record = Record(target, {}, parameters)
    with make_alone(target):
        record.guard(values.force)
        record.facts = {"questions": validator.distinct_questions}
        with record.write_file() as file:
            file.write(text)
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
