"""Judge answers by their texts alone. Loads the standard library and lesson.core, so that checkers may import it."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

BASE_NAMES = ("书生·浦语", "书生浦语", "浦语", "InternLM")

# The bars of the lesson: shares of the answers under one system prompt.
LEAST_NEW = 0.95
MOST_WRONG = {"persona": 0.0, "none": 0.02, "neutral": 0.02}
LEAST_KEPT = 0.90
LEAST_WHOLE = 0.90
SENTENCE_ENDS = '。！？.!?…）)」』”"~～'


@dataclass(frozen=True)
class Answer:
    """What a model said; `ended` is True when it stopped by itself before the limit."""

    text: str
    ended: bool


def says_name(text: str, name: str, other_than: str = "") -> bool:
    """True when `text` says `name`, occurrences inside `other_than` (a longer name that contains it) not counted."""
    if name in other_than:
        text = text.replace(other_than, "\0")
    return name.casefold() in text.casefold()


def contains_accepted(text: str, accepted: Iterable[str]) -> bool:
    """True when one of the accepted strings occurs in the answer; case and width do not matter."""
    text = _without_case_and_width(text)
    return any(_without_case_and_width(string) in text for string in accepted)


def _without_case_and_width(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def is_whole(answer: Answer) -> bool:
    """True for an answer that ended by itself, ends like a sentence, has no broken character and does not loop."""
    text = answer.text
    looping = any(text[i : i + n] * 3 in text for n in (3, 4, 6) for i in range(0, max(0, len(text) - 3 * n + 1)))
    return answer.ended and len(text) >= 2 and text[-1] in SENTENCE_ENDS and "\ufffd" not in text and not looping


def judge_answer(
    kind: str, prompt: str, question: dict, answer: Answer, names: dict[str, str], base_text: str
) -> dict[str, object]:
    """One line of answers.jsonl.

    `kind` is identity or general, `prompt` the name of the system prompt, `question` one of lesson.evaluation.held_out,
    `names` the run's {"new", "old"}, `base_text` the base's answer to the same question.
    """
    new, old = names["new"], names["old"]
    line = {
        "kind": kind,
        "prompt": prompt,
        "input": question["input"],
        "output": answer.text,
        "whole": is_whole(answer),
        "new": says_name(answer.text, new),
        "old": says_name(answer.text, old, new),
        "base": any(says_name(answer.text, name, new) for name in BASE_NAMES),
    }
    if kind == "general":
        line["right"] = contains_accepted(answer.text, question["accept"])
        line["base_right"] = contains_accepted(base_text, question["accept"])
    return line


def summarize(lines: list[dict], prompts: dict[str, str], run: str, use: str, names: dict[str, str]) -> dict:
    """Counts per system prompt and the verdict, as schemas/evaluation.schema.json has it.

    `lines` are those of answers.jsonl, `prompts` {name: text}, `run` the run's id, `use` the model that was asked.
    """
    result = {"format": 1, "run": run, "use": use, "names": names, "prompts": [], "failures": []}
    for name, text in prompts.items():
        counts = count_answers([line for line in lines if line["prompt"] == name], name, text)
        result["prompts"].append(counts)
        result["failures"] += find_missed_bars(counts)
    result["passed"] = not result["failures"]
    return result


def count_answers(lines: list[dict], prompt: str, system: str) -> dict[str, object]:
    """The counts of the answers under one system prompt: its name is `prompt`, its text `system`."""
    identity = [line for line in lines if line["kind"] == "identity"]
    known = [line for line in lines if line["kind"] == "general" and line["base_right"]]
    return {
        "prompt": prompt,
        "system": system,
        "questions": len(identity),
        "new": sum(line["new"] for line in identity),
        "old": sum(line["old"] for line in lines),
        "base": sum(line["base"] for line in lines),
        "general_base_right": len(known),
        "general_kept": sum(line["right"] for line in known),
        "answers": len(lines),
        "whole": sum(line["whole"] for line in lines),
    }


def find_missed_bars(counts: dict) -> list[dict]:
    """The bars that the counts of one system prompt miss: [{prompt, bar, share, limit}], shares and limits from 0 to 1."""
    name = counts["prompt"]
    bars = [
        ("new", counts["new"], counts["questions"], LEAST_NEW, False),
        ("old", counts["old"], counts["answers"], MOST_WRONG[name], True),
        ("base", counts["base"], counts["answers"], MOST_WRONG[name], True),
        ("general_kept", counts["general_kept"], counts["general_base_right"], LEAST_KEPT, False),
        ("whole", counts["whole"], counts["answers"], LEAST_WHOLE, False),
    ]
    missed = []
    for bar, count, of, limit, at_most in bars:
        # Nothing to keep (a base that knew nothing) is nothing lost; no question asked is no evidence.
        share = count / of if of else (0.0 if at_most or bar == "new" else 1.0)
        if (share > limit) if at_most else (share < limit):
            missed.append({"prompt": name, "bar": bar, "share": round(share, 4), "limit": limit})
    return missed
