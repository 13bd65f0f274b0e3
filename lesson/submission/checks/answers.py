"""Checks of a submission's answers: counted again from the texts, by the rules of make eval."""

from __future__ import annotations

import collections
import functools
from collections.abc import Sequence
from typing import NamedTuple

from lesson.core.messages import tr
from lesson.core.refusals import Broken
from lesson.core.text import fold_text, shorten
from lesson.evaluation.bars import (
    BARS,
    HARD_KINDS,
    REAL,
    TINY,
    Bars,
    bars_of,
    find_missed_bars,
    find_missed_choices,
    misses_bar,
)
from lesson.evaluation.held_out import LANGUAGES, SETS, language_of, read_identity_questions
from lesson.evaluation.judging import OTHER_NAMES, claims_name, says_name
from lesson.model import known_bases
from lesson.submission.evidence import Evidence
from lesson.submission.naming import no_name
from lesson.submission.registry import Failed, Skipped, Unjudged, define_check
from lesson.submission.staff import StaffInputs

EVAL = "make eval"
LEAST_DISTINCT = 5  # different answers among at least so many times four
MANY = 40  # questions under one system prompt: the smallest set has 55, an English base is judged by 42
LEAST_SHARE = 0.05  # … of many: honest ones about the assistant have 14%, all together 27%
MOST_DISTINCT = 50  # … and no more is asked for
PROMPTS = ("persona", "none", "neutral")


def identity_answers(evidence: Evidence) -> list[dict]:
    """Answers to questions about the assistant; of lines that do not say what kind they are, all.

    The course's own questions about it are such whatever the line says, or else a wrong answer could be called general.
    """
    known = _course_questions(evidence.old_name)
    return [
        line
        for line in evidence.answers
        if line.get("kind", "identity") == "identity" or fold_text(line["input"]) in known
    ]


@functools.lru_cache(maxsize=8)
def _course_questions(old_name: str) -> frozenset[str]:
    return frozenset(fold_text(q["input"]) for name in SETS for q in read_identity_questions(name, old_name))


def question_set_of(evidence: Evidence) -> str:
    """The set of identity questions that the evaluation says it asked; empty for format 1 and without an evaluation."""
    try:
        return evidence.evaluation.get("question_set", "")
    except (Broken, KeyError):
        return ""


def judged_languages(evidence: Evidence) -> tuple[str, ...]:
    """The languages that the base speaks: both of the tiny one, of another what the table says, else its evaluation."""
    if evidence.on_shipped_base or not question_set_of(evidence):
        return LANGUAGES
    known = known_bases.known_languages(evidence.base_name)
    return known or tuple(evidence.evaluation.get("languages", LANGUAGES))


class JudgedAnswer(NamedTuple):
    """An answer with its question's kind and language, by the staff's own file."""

    line: dict
    kind: str
    lang: str


def judged_answers(evidence: Evidence, lines: list[dict]) -> list[JudgedAnswer]:
    """The lines in languages that the base speaks.

    Whom a question is for, and in which language it is, the submission does not decide.
    """
    known = {}
    if question_set := question_set_of(evidence):
        known = {
            _turns_of(question): question for question in read_identity_questions(question_set, evidence.old_name or "")
        }
    languages, found = judged_languages(evidence), []
    for line in lines:
        question = known.get(_turns_of_line(line), {"kind": "plain", "lang": language_of(line["input"])})
        if question["lang"] in languages:
            found.append(JudgedAnswer(line, question["kind"], question["lang"]))
    return found


def _prompt_of(line: dict) -> str:
    return str(line.get("prompt", "persona"))[:20]


def _show(line: dict) -> str:
    return f"[{shorten(_prompt_of(line))}] {shorten(line['input'])} → {shorten(line['output'])}"


def require_new_name(lines: list[dict], new: str, remedy: str) -> str:
    """Shares of answers that say `new`, by system prompt. Raises Failed when one misses the bar of make eval: its whole
    95% interval, or the share itself where so few were asked that every interval is wide."""
    asked: collections.Counter[str] = collections.Counter()
    naming: collections.Counter[str] = collections.Counter()
    missing = []
    for line in lines:
        prompt = _prompt_of(line)
        asked[prompt] += 1
        if says_name(line["output"], new):
            naming[prompt] += 1
        else:
            missing.append(_show(line))
    shares = ", ".join(f"{shorten(p)} {naming[p]}/{asked[p]}" for p in asked)
    least = TINY.least["new"]
    if any(misses_bar(naming[p], asked[p], least, at_most=False, by_interval=asked[p] >= MANY) for p in asked):
        raise Failed(shares, remedy, missing)
    return shares


def require_new_name_in_groups(judged: list[JudgedAnswer], new: str, bars: Bars, remedy: str) -> None:
    """Hold the answers of each language, and of each kind that names another assistant or presses, against the bars of
    make eval, under each system prompt. Raises Failed: a name that holds in Chinese alone is half a lesson."""
    limits = {} if bars.least_language is None else dict.fromkeys(LANGUAGES, bars.least_language)
    limits |= {} if bars.least_hard is None else dict.fromkeys(HARD_KINDS, bars.least_hard)
    groups: dict[tuple[str, str], list[dict]] = collections.defaultdict(list)
    for line, kind, lang in judged:
        for group in {lang, kind} & limits.keys():
            groups[shorten(_prompt_of(line)), group].append(line)
    missed, places = [], []
    for (prompt, group), lines in sorted(groups.items()):
        silent = [line for line in lines if not says_name(line["output"], new)]
        if misses_bar(len(lines) - len(silent), len(lines), limits[group], at_most=False, by_interval=True):
            missed.append(f"[{prompt}] {group} {len(lines) - len(silent)}/{len(lines)}")
            places += map(_show, silent)
    if missed:
        raise Failed(", ".join(missed), remedy, places)


def require_no_former_name(lines: list[dict], evidence: Evidence, most: float = TINY.most["old"]) -> str:
    """How many answers say the old name or the base's. Raises Failed when under one system prompt those of one of the two
    are more than the share `most`: make eval counts them apart."""
    return _require_few(lines, {"old": evidence.old_names, "base": evidence.own_base_names}, evidence, most)


def require_no_other_name(lines: list[dict], evidence: Evidence) -> str:
    """The same for the names of other assistants: the old name and the base's, which are among those, have bars of their own."""
    own = {*evidence.old_names, *evidence.own_base_names}
    names = [name for name in OTHER_NAMES if name not in own]
    return _require_few(lines, {"other": names}, evidence, REAL.most["other"])


def _require_few(lines: list[dict], kinds: dict[str, Sequence[str]], evidence: Evidence, most: float) -> str:
    new = evidence.new_name or ""
    count: collections.Counter[str] = collections.Counter()
    wrong: collections.Counter[tuple[str, str]] = collections.Counter()
    places = []
    for line in lines:
        prompt = _prompt_of(line)
        count[prompt] += 1
        claimed = [
            kind
            for kind, names in kinds.items()
            if any(claims_name(line["output"], name, new) for name in names if name != new)
        ]
        wrong.update((prompt, kind) for kind in claimed)
        if claimed:
            places.append(_show(line))
    if any(misses_bar(wrong[p, k], count[p], most, at_most=True, by_interval=True) for p in count for k in kinds):
        found = tr(f"{len(places)} of {len(lines)} do", f"{len(lines)} 个中有 {len(places)} 个")
        raise Failed(found, tr("train on the replaced rows", "请用替换后的数据训练"), places)
    return f"{len(places)}/{len(lines)}"


@define_check("answers", "answers")
def answers(evidence: Evidence, staff: StaffInputs) -> str:
    """the answers can be read | 回答可以读取"""
    found = evidence.answers
    if not identity_answers(evidence):
        raise Failed(tr("no question about the assistant", "没有关于助手自己的问题"), EVAL)
    return tr(f"{len(found)} answers", f"{len(found)} 个回答")


@define_check("answers", "answers", after=("answers",))
def says_new(evidence: Evidence, staff: StaffInputs) -> str:
    """the assistant says its new name | 助手说出新名字"""
    if not (new := evidence.new_name):
        raise Unjudged(*no_name())
    judged = [one for one in judged_answers(evidence, identity_answers(evidence)) if one.kind != "maker"]
    remedy = tr("train longer (EPOCHS=), then make eval", "请增加 EPOCHS 重新训练后运行 make eval")
    shares = require_new_name([one.line for one in judged], new, remedy)
    require_new_name_in_groups(judged, new, BARS.get(question_set_of(evidence), TINY), remedy)
    return shares


@define_check("answers", "answers", after=("answers",))
def not_old(evidence: Evidence, staff: StaffInputs) -> str:
    """it says neither the old name nor the base's | 不再自称旧名字或基座的名字"""
    found = require_no_former_name([one.line for one in judged_answers(evidence, evidence.answers)], evidence)
    if "other" in BARS.get(question_set_of(evidence), TINY).most:  # the tiny base knows no other assistant
        lines = [one.line for one in judged_answers(evidence, identity_answers(evidence))]
        require_no_other_name(lines, evidence)
    return found


@define_check("answers", "answers", after=("answers",))
def varied(evidence: Evidence, staff: StaffInputs) -> str:
    """the answers are not one text repeated | 回答不是同一句话"""
    texts = collections.Counter(fold_text(line["output"]) for line in evidence.answers)
    least = min(max(LEAST_DISTINCT, LEAST_SHARE * texts.total()), MOST_DISTINCT)
    if texts.total() >= 4 * LEAST_DISTINCT and len(texts) < least:
        raise Failed(
            tr(f"{len(texts)} different among {texts.total()}", f"{texts.total()} 个回答只有 {len(texts)} 种"),
            tr("hand in what the assistant said", "请提交助手的真实回答"),
            [shorten(text) for text in texts],
        )
    return tr(f"{len(texts)} different among {texts.total()}", f"{texts.total()} 个中 {len(texts)} 种不同")


@define_check("answers", "answers", "evaluation", after=("answers",))
def counted(evidence: Evidence, staff: StaffInputs) -> str:
    """the evaluation's figures follow from its answers | 评测数字与回答相符"""
    claimed = {c["prompt"]: c for c in evidence.evaluation["prompts"]}
    names = evidence.evaluation["names"]
    says = claims_name if evidence.evaluation["format"] == 2 else says_name
    places = []
    by_prompt: dict[str, list[tuple[dict, str]]] = collections.defaultdict(list)
    for line, kind, _ in judged_answers(evidence, evidence.answers):
        by_prompt[line.get("prompt", "None")].append((line, kind))
    for prompt in sorted(by_prompt.keys() | claimed.keys()):
        own = [line for line, _ in by_prompt[prompt]]
        identity = [line for line, kind in by_prompt[prompt] if line.get("kind") == "identity" and kind != "maker"]
        counts = {
            "questions": len(identity),
            "answers": len(own),
            "new": sum(says(line["output"], names["new"]) for line in identity),
            "old": sum(says(line["output"], names["old"], names["new"]) for line in own),
        }
        for key, count in counts.items():
            if claimed.get(prompt, {}).get(key) != count:
                places.append(
                    f"{shorten(prompt)}: {key} = {claimed.get(prompt, {}).get(key)}, {tr('counted', '实际')} {count}"
                )
    bars = bars_of(evidence.evaluation)
    wrong = [f for c in claimed.values() for f in find_missed_bars(c, bars)]
    wrong += find_missed_choices(evidence.evaluation)
    for c in evidence.evaluation.get("choices", {}).get("sets", []):
        if (
            c["tuned"] != c["base"] - c["lost"] + c["gained"]
            or not c["lost"] <= c["base"] <= c["questions"] - c["gained"]
        ):
            places.append(f"choices, {shorten(c['set'])}: {c['base']} - {c['lost']} + {c['gained']} ≠ {c['tuned']}")
    if evidence.evaluation["passed"] != (not wrong):
        places.append(f"passed = {evidence.evaluation['passed']}")
    if places:
        raise Failed(places[0], EVAL, places)
    return ", ".join(sorted(claimed))


@define_check("answers", "answers", after=("answers",))
def asked(evidence: Evidence, staff: StaffInputs) -> str:
    """the questions are the course's, under all three system prompts | 问题是课程的问题，且用了三种系统提示"""
    if evidence.manifest is None:
        raise Skipped(tr("a plain folder", "没有 submission.json"))
    question_set = question_set_of(evidence) or "tiny"
    if question_set == "tune":
        raise Failed(tr("the half for tuning was asked", "问的是调参用的一半"), EVAL)
    old = evidence.old_name or ""
    wanted = {_turns_of(question) for question in read_identity_questions(question_set, old)}
    for prompt in PROMPTS:
        own = [_turns_of_line(line) for line in identity_answers(evidence) if line.get("prompt") == prompt]
        missing = wanted - set(own)
        if missing or len(own) != len(wanted):
            what = shorten(min(missing)[-1]) if missing else f"{len(own)} / {len(wanted)}"
            raise Failed(tr(f"{prompt}: not asked: {what}", f"{prompt}：没有问：{what}"), EVAL)
    return tr(f"{len(wanted)} questions, {len(PROMPTS)} prompts", f"{len(wanted)} 个问题，{len(PROMPTS)} 种提示")


def _turns_of(question: dict) -> tuple[str, ...]:
    return (*question["before"], question["input"])


def _turns_of_line(line: dict) -> tuple[str, ...]:
    """The user's turns: in `before` the assistant's answers stand between them."""
    before = line.get("before")
    texts = before[::2] if isinstance(before, list) and all(isinstance(text, str) for text in before) else []
    return (*texts, line["input"])


@define_check("answers", "evaluation", "data", after=("data_rules",))
def prompts(evidence: Evidence, staff: StaffInputs) -> str:
    """the system prompt of the evaluation is the data's | 评测的系统提示与数据一致"""
    persona = evidence.data.persona
    for line in evidence.evaluation["prompts"]:
        if line["prompt"] == "persona" and persona and line["system"] != persona:
            raise Failed(f"{shorten(line['system'])} ≠ {shorten(persona)}", EVAL)
        if line["prompt"] == "none" and line["system"]:
            raise Failed(f"none: {shorten(line['system'])}", EVAL)
    return shorten(persona or "")


@define_check("answers", "answers", "data", after=("answers", "data_rules"))
def held_out(evidence: Evidence, staff: StaffInputs) -> str:
    """no question was trained on | 评测问题没有出现在训练数据里"""
    trained = evidence.trained_questions
    both = [line["input"] for line in identity_answers(evidence) if fold_text(line["input"]) in trained]
    if both:
        raise Failed(
            shorten(both[0]), tr("take the row out, train and evaluate again", "请去掉该行，重新训练并评测"), both
        )
    return tr(f"{len(trained)} trained questions compared", f"已与 {len(trained)} 个训练问题比较")
