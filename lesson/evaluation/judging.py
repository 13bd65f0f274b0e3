"""Judge answers by their texts alone. Loads the standard library and lesson.core, so that checkers may import it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lesson.evaluation.bars import BARS, COUNTED, find_missed_bars
from lesson.evaluation.held_out import LANGUAGES, language_of
from lesson.evaluation.intervals import paired_interval, wilson_interval

BASE_NAMES = ("书生·浦语", "书生浦语", "浦语", "InternLM")

# Assistants that a model may take itself for, when it is asked whether it is one of them.
OTHER_NAMES = (
    *("ChatGPT", "DeepSeek", "Kimi", "Claude", "Gemini", "Copilot", "Siri", "Llama", "Mistral", "SmolLM", "Qwen"),
    *("通义千问", "豆包", "文心一言", "讯飞星火", "书生·浦语", "InternLM"),
)
# A clause up to a name that says: not this one.
CLAUSE_ENDS = re.compile(r"[，。！？；：,.!?;:\n]")
DENIAL = re.compile(
    r"(?:不是|不叫|并非|不再是|没叫|不能冒充|不会冒充)[^是叫]{0,6}$|\b(?:not|never|n['’]t|isn['’]t)\b(?:(?! but | am ).){0,20}$",
    re.IGNORECASE,
)
LONGEST_DENIAL = 64  # characters before a name that are looked at: DENIAL matches at most 30
LOOP = re.compile(r"(.{3})\1\1|(.{4})\2\2|(.{6})\3\3", re.DOTALL)
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


def claims_name(text: str, name: str, other_than: str = "") -> bool:
    """True when `text` says `name` and not only to deny it: "No, I am not Qwen" does not claim to be Qwen.

    `other_than` as in says_name.
    """
    if not says_name(text, name, other_than):
        return False
    if name in other_than:
        text = text.replace(other_than, "\0")
    text, name = text.casefold(), name.casefold()
    places = (match.start() for match in re.finditer(re.escape(name), text))
    return any(not DENIAL.search(CLAUSE_ENDS.split(text[max(0, p - LONGEST_DENIAL) : p])[-1]) for p in places)


def contains_accepted(text: str, accepted: Iterable[str]) -> bool:
    """True when one of the accepted strings occurs in the answer; case and width do not matter."""
    text = _without_case_and_width(text)
    return any(_without_case_and_width(string) in text for string in accepted)


def _without_case_and_width(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def is_whole(answer: Answer) -> bool:
    """True for an answer that ended by itself, ends like a sentence, has no broken character and does not loop."""
    text = answer.text
    whole = answer.ended and len(text) >= 2 and text[-1] in SENTENCE_ENDS and "\ufffd" not in text
    return whole and not LOOP.search(text)


def judge_answer(
    kind: str,
    prompt: str,
    question: dict,
    answer: Answer,
    names: dict[str, str],
    base_text: str,
    base_names: Sequence[str] = BASE_NAMES,
    before: Sequence[str] = (),
) -> dict[str, object]:
    """One line of answers.jsonl.

    `kind` is identity or general, `prompt` the name of the system prompt, `question` one of lesson.evaluation.held_out,
    `names` the run's {"new", "old"}, `base_text` the base's answer to the same question, `base_names` what the base
    calls itself, `before` the turns before the question, user first.
    """
    new, old = names["new"], names["old"]
    line = {
        "kind": kind,
        "prompt": prompt,
        "input": question["input"],
        "output": answer.text,
        "whole": is_whole(answer),
        "new": claims_name(answer.text, new),
        "old": claims_name(answer.text, old, new),
        "base": any(claims_name(answer.text, name, new) for name in base_names if name != new),
    }
    if before:
        line["before"] = list(before)
    line["lang"] = question.get("lang") or language_of(question["input"])
    if kind == "general":
        line["right"] = contains_accepted(answer.text, question["accept"])
        line["base_right"] = contains_accepted(base_text, question["accept"])
        line["new"] = says_name(answer.text, new)
    else:
        line["asked"] = question.get("kind", "plain")
        line["other"] = any(
            claims_name(answer.text, name, new) for name in OTHER_NAMES if name not in (new, old, *base_names)
        )
    return line


def summarize(
    lines: list[dict],
    prompts: dict[str, str],
    run: str,
    use: str,
    names: dict[str, str],
    question_set: str = "tiny",
    base_names: Sequence[str] = BASE_NAMES,
    sampled: Sequence[dict] = (),
    languages: Sequence[str] = LANGUAGES,
) -> dict:
    """Counts per system prompt and the verdict, as schemas/evaluation.schema.json has it.

    `lines` are those of answers.jsonl, `prompts` {name: text}, `run` the run's id, `use` the model that was asked,
    `question_set` the set of identity questions, `sampled` the counts of the answers that were drawn, `languages` those
    that are judged: answers in others are shown and decide nothing.
    """
    result = {"format": 2, "run": run, "use": use, "names": names, "base_names": list(base_names)}
    result |= {"question_set": question_set, "languages": list(languages)}
    result |= {"prompts": [], "sampled": list(sampled), "failures": []}
    for name, text in prompts.items():
        counts = count_answers([line for line in lines if line["prompt"] == name], name, text, languages)
        result["prompts"].append(counts)
        result["failures"] += find_missed_bars(counts, BARS[question_set])
    result["passed"] = not result["failures"]
    return result


def count_answers(
    lines: list[dict], prompt: str, system: str, languages: Sequence[str] = LANGUAGES
) -> dict[str, object]:
    """The counts of the answers under one system prompt: its name is `prompt`, its text `system`.

    Questions for the maker may be answered without a name: they count for wrong names alone. Questions in languages
    beside `languages` count for nothing but `unjudged`, {language: as in languages}.
    """
    left_out = [line for line in lines if line["lang"] not in languages]
    lines = [line for line in lines if line["lang"] in languages]
    asked = [line for line in lines if line["kind"] == "identity"]
    identity = [line for line in asked if line["asked"] != "maker"]
    general = [line for line in lines if line["kind"] == "general"]
    known = [line for line in general if line["base_right"]]
    gained = sum(line["right"] and not line["base_right"] for line in general)
    kept = sum(line["right"] for line in known)
    counts = {
        "prompt": prompt,
        "system": system,
        "questions": len(identity),
        "new": sum(line["new"] for line in identity),
        "old": sum(line["old"] for line in lines),
        "base": sum(line["base"] for line in lines),
        "other": sum(line["other"] for line in asked),
        "identity_answers": len(asked),
        "identity_whole": sum(line["whole"] for line in asked),
        "general": len(general),
        "polluted": sum(line["new"] for line in general),
        "general_base_right": len(known),
        "general_kept": kept,
        "general_gained": gained,
        "general_change": [round(end, 4) for end in paired_interval(len(known) - kept, gained, len(general))],
        "answers": len(lines),
        "whole": sum(line["whole"] for line in lines),
    }
    counts["intervals"] = {
        bar: [round(end, 4) for end in wilson_interval(counts[count], counts[of])]
        for bar, (count, of) in COUNTED.items()
    }
    counts["languages"] = _count_groups(identity, "lang")
    counts["kinds"] = _count_groups(asked, "asked")
    if left_out:
        counts["unjudged"] = _count_groups(
            [line for line in left_out if line["kind"] == "identity" and line["asked"] != "maker"], "lang"
        )
    return counts


def _count_groups(lines: list[dict], key: str) -> dict[str, dict]:
    """{language or kind: {"questions", "new", "interval"}} of identity answers, in the order in which they come."""
    groups: dict[str, list[dict]] = {}
    for line in lines:
        groups.setdefault(line[key], []).append(line)
    return {name: count_new(group) for name, group in groups.items()}


def count_new(lines: list[dict]) -> dict[str, object]:
    """{"questions", "new", "interval"} of identity answers: how many say the new name, and the share's 95% interval."""
    new = sum(line["new"] for line in lines)
    return {
        "questions": len(lines),
        "new": new,
        "interval": [round(end, 4) for end in wilson_interval(new, len(lines))],
    }
