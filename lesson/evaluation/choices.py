"""How many public multiple-choice questions the tuned model answers right, beside its base: forgetting, by other people's
questions. What the base chooses is stored in BUILD, as its answers are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple
from typing import TextIO

from lesson.core.files import write_json
from lesson.core.layout import base_choices_file
from lesson.core.messages import tr
from lesson.core.settings import Values
from lesson.evaluation.bars import LARGEST_FALL
from lesson.evaluation.choice_files import SEED, ChoiceSet
from lesson.evaluation.choice_scoring import choose_options
from lesson.evaluation.intervals import paired_interval, wilson_interval
from lesson.evaluation.loading import load_model
from lesson.runs.folder import Run

RULES = 1  # counted up when prompts or scoring change: what is stored was chosen by the rules of its number
MOST_STORED = 64  # sets of which the base's choices are stored, the last ones


def get_base_choices(
    values: Values, sets: Sequence[ChoiceSet], base: str, progress: TextIO, run: Run | None = None
) -> list[list[int]]:
    """The index of the option that the base chooses, for each question of each set. It is loaded only where a set is not
    stored; each set is stored as soon as it is done.

    `base` is the hash of the base model, `run` the run whose base it is. Raises UserError when there is no base.
    """
    path = base_choices_file(values.build)
    stored, model = _read_stored(values, base), None
    found = {}
    for chosen in sets:
        key = _hash_set(chosen)
        picks = stored.get(key)
        if not (isinstance(picks, list) and len(picks) == len(chosen.questions)):
            model = model or load_model(values, "base", run)
            picks = choose_options(*model, chosen, "base", progress)
            kept = list((stored | found | {key: picks}).items())[-MOST_STORED:]
            write_json(path, {"key": _inputs(base), "choices": dict(kept)})
        found[key] = picks
    return [found[_hash_set(chosen)] for chosen in sets]


def _read_stored(values: Values, base: str) -> dict[str, list[int]]:
    try:
        stored = json.loads(base_choices_file(values.build).read_text(encoding="utf-8"))
        return dict(stored["choices"]) if stored["key"] == _inputs(base) else {}
    except (OSError, ValueError, LookupError, TypeError):
        return {}


def _inputs(base: str) -> dict[str, object]:
    return {"base": base, "rules": RULES}


def _hash_set(chosen: ChoiceSet) -> str:
    """SHA-256 of all that the base is asked; where the files stand plays no part."""
    asked = [chosen.chinese, *(astuple(question)[:4] for question in chosen.questions)]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()


def count_choices(chosen: ChoiceSet, base: Sequence[int], tuned: Sequence[int]) -> dict[str, object]:
    """The counts of a set, as evaluation.json has them: `base` and `tuned` are the options that were chosen.

    `interval` is the 95% interval of `difference`, as intervals.paired_interval has it.
    """
    right = [question.answer for question in chosen.questions]
    before, after = ([pick == r for pick, r in zip(picks, right, strict=True)] for picks in (base, tuned))
    lost = sum(was and not now for was, now in zip(before, after, strict=True))
    gained = sum(now and not was for was, now in zip(before, after, strict=True))
    of = len(right)
    return {
        "set": chosen.name,
        "rule": chosen.rule,
        "found": chosen.found,
        "questions": of,
        "chance": round(sum(1 / len(question.options) for question in chosen.questions) / of, 4),
        "base": sum(before),
        "tuned": sum(after),
        "lost": lost,
        "gained": gained,
        "difference": round((gained - lost) / of, 4),
        "interval": [round(end, 4) for end in paired_interval(lost, gained, of)],
    }


def compare_choices(
    sets: Sequence[ChoiceSet], base: Sequence[Sequence[int]], ask: Callable[[ChoiceSet], list[int]]
) -> tuple[dict[str, object], list[dict]]:
    """(what evaluation.json says under "choices", the lines of choices.jsonl). `base` is what get_base_choices gives,
    `ask` gives the tuned model's options of a set."""
    counts, lines = [], []
    for chosen, before in zip(sets, base, strict=True):
        after = ask(chosen)
        counts.append(count_choices(chosen, before, after))
        lines += [
            {
                "set": chosen.name,
                "file": question.file,
                "line": question.line,
                "input": question.text,
                "options": list(question.options),
                "answer": question.answer,
                "base": was,
                "tuned": now,
            }
            for question, was, now in zip(chosen.questions, before, after, strict=True)
        ]
    return {"seed": SEED, "limit": LARGEST_FALL, "sets": counts}, lines


def describe_choices(choices: dict) -> Iterator[str]:
    """The lines of the report for what evaluation.json says under "choices"."""
    yield tr(
        "multiple choice: the likeliest option, without examples; difference with a paired 95% interval",
        "选择题：取模型认为最可能的选项，无示例；差值附配对 95% 区间",
    )
    for c in choices["sets"]:
        low, high = c["interval"]
        of = c["questions"]
        shares = f"{c['base']}/{of} ({c['base'] / of:.0%}) → {c['tuned']}/{of} ({c['tuned'] / of:.0%})"
        change = tr(
            f"{100 * c['difference']:+.1f} points ({100 * low:+.1f} to {100 * high:+.1f})",
            f"{100 * c['difference']:+.1f} 个百分点（{100 * low:+.1f} 到 {100 * high:+.1f}）",
        )
        asked = "" if of == c["found"] else tr(f"; {of} of {c['found']} drawn", f"；从 {c['found']} 题中抽取 {of} 题")
        # Nobody forgets what was never known: an interval that holds chance says that the base may be guessing.
        guesses = wilson_interval(c["base"], of)[0] <= c["chance"]
        chance = tr(
            f"; the base hardly beats chance ({c['chance']:.0%}): nothing to forget",
            f"；基座与乱猜（{c['chance']:.0%}）相差无几，谈不上遗忘",
        )
        yield (
            tr(
                f"  {c['set']}: base → tuned {shares}, {change}; {c['lost']} lost, {c['gained']} gained",
                f"  {c['set']}：基座 → 微调后 {shares}，{change}；答错了 {c['lost']} 题，新答对 {c['gained']} 题",
            )
            + asked
            + (chance if guesses else "")
        )
