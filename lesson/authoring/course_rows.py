"""The source rows of the course, data/assistant_Tuner.jsonl, made from data/banks: the same, byte for byte, each time.

Every row teaches the old name 尖米 (most of them) or keeps a piece of general knowledge, so that fine-tuning does not
cost it. Names are changed by plain replacement later, so each sentence has to read well with any name in it.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

from lesson.authoring.banks import Kind, list_cores, read_bank, read_kind_numbers
from lesson.authoring.facts import is_request, list_facts
from lesson.authoring.held_out import fold_evaluation_questions
from lesson.core.files import atomic
from lesson.core.settings import ROOT
from lesson.core.text import fold_text

SOURCE = ROOT / "data" / "assistant_Tuner.jsonl"
OLD_NAME = "尖米"
SEED = 20241
GENERAL_ROWS = 280
PAIRS = 30  # talks of two turns


def list_personas(name: str) -> list[str]:
    """System prompts that say who the assistant is. The first is the usual one."""
    return [persona.format(name=name) for persona in read_bank("course")["personas"]]


def list_course_cores(kind: Kind) -> list[str]:
    """The cores of a kind without half a sentence, which is good enough for the base, not for a course."""
    half = read_bank("identity")["half_sentences"]
    return [core for core in list_cores(kind) if core not in half]


def draw_system_prompt(random_: random.Random) -> str:
    """The persona in six rows of ten, then none, then neutral and other prompts, so that the name holds under all."""
    draw = random_.random()
    usual, *others = list_personas(OLD_NAME)
    if draw < 0.60:
        return usual
    if draw < 0.80:
        return ""
    return random_.choice(read_bank("course")["neutral_prompts"] if draw < 0.92 else others)


def phrase_identity_question(random_: random.Random, kind: Kind, core: str) -> str:
    """A question about the assistant: an opening, the core and the stop that fits."""
    bank = read_bank("course")
    topic, language = kind
    core = core.replace("{other}", random_.choice(read_bank("identity")["other_assistants"]))
    if topic == "hello":
        return core + random_.choice(("", ".", "!") if core.isascii() else ("", "。", "！"))
    opening = random_.choice(bank["openings"][language])
    requests = bank["requests"][language]
    if language == "en":
        if opening and not core.startswith("I "):
            core = core[0].lower() + core[1:]
        request = core.split()[0].lower() in requests["first_words"] or core.startswith("I ")
        return opening + core + ("." if request else "?")
    request = any(text in core for text in requests["anywhere"]) or core.startswith(tuple(requests["beginnings"]))
    if opening.startswith(("请问", "我想")) and (request or core.startswith(("你就", "我听"))):
        opening = ""
    return opening + core + ("。" if request and not core.endswith("吗") else random_.choice("？？？"))


def draw_identity_turns(random_: random.Random) -> list[tuple[str, str]]:
    """(question, answer) about the assistant, each core several times in other words."""
    turns = []
    for kind, copies in read_kind_numbers("course", "copies").items():
        topic, language = kind
        answers = read_bank("course")["answers"][topic][language]
        for core in list_course_cores(kind):
            for _ in range(copies):
                answer = random_.choice(answers)
                turns.append((phrase_identity_question(random_, kind, core), answer.format(name=OLD_NAME)))
    return turns


def draw_general_turns(random_: random.Random) -> list[tuple[str, str]]:
    """GENERAL_ROWS (question, answer) pairs that the base knows, spread over all its kinds of facts; then greetings."""
    facts = list_facts()
    chosen = sorted(random_.sample(range(len(facts)), GENERAL_ROWS))
    turns = []
    for fact in (facts[i] for i in chosen):
        question = random_.choice(fact.questions)
        if fact.accept and not question.endswith("?"):
            stops = (".", "?") if question.isascii() else ("。", "？")
            question += stops[0] if is_request(question) else stops[1]
        turns.append((question, fact.answers[0]))
    users = read_bank("course")["users"]
    return turns + [(f"我叫{user}。", f"你好，{user}，很高兴认识你。") for user in users]


def make_course_rows(seed: int = SEED) -> list[dict]:
    """The rows of the course's source file: {"conversation": [{"system", "input", "output"}, …]}, none twice."""
    random_ = random.Random(seed)
    held_out = fold_evaluation_questions()
    identity, general = draw_identity_turns(random_), draw_general_turns(random_)
    conversations = [[turn] for turn in identity + general]
    # Some talks of two turns, in both orders: the name also has to come late in a talk.
    for _ in range(PAIRS):
        pair = [random_.choice(identity), random_.choice(general)]
        random_.shuffle(pair)
        conversations.append(pair)
    random_.shuffle(conversations)
    made: dict[str, dict] = {}
    for talk in conversations:
        if any(fold_text(question) in held_out for question, _ in talk):
            continue
        turns = [{"input": question, "output": answer} for question, answer in talk]
        row = {"conversation": [{"system": draw_system_prompt(random_), **turns[0]}, *turns[1:]]}
        made[json.dumps(row, ensure_ascii=False)] = row
    return list(made.values())


def write_course_rows(path: Path = SOURCE) -> int:
    """Write the source file, one row a line; gives back how many rows it has."""
    rows = make_course_rows()
    with atomic(path) as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return len(rows)
