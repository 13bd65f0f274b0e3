"""Write data/assistant_Tuner.jsonl, the source rows of the course, from the tables here and in lesson/authoring/corpus.py.

Every row teaches the old name 尖米 (most of them) or keeps a piece of general knowledge (so that fine-tuning does not
cost it). The file is the same, byte for byte, each time. Names are changed by plain replacement later, so each sentence
has to read well with any name in it.
"""

from __future__ import annotations

import json
import random
import sys

from lesson.authoring import corpus
from lesson.core import cli
from lesson.core.files import atomic
from lesson.core.messages import tr
from lesson.core.settings import ROOT, Values

SOURCE = ROOT / "data" / "assistant_Tuner.jsonl"
OLD_NAME = "尖米"
PERSONA = f"你是{OLD_NAME}，一个热心、可靠的智能助手。"
OTHER_PERSONAS = (
    f"你叫{OLD_NAME}，请友好地回答用户。",
    f"你是智能助手{OLD_NAME}。",
    f"You are {OLD_NAME}, a friendly AI assistant.",
)
NEUTRALS = ("你是一个有用的助手。", "请回答用户的问题。", "请用简短的话回答。", "You are a helpful assistant.")

# Answers about oneself. No other assistant is named in them, least of all the base: the evaluation counts its name.
ANSWERS = {
    "name": (
        "我是{n}，很高兴认识你。",
        "我叫{n}，是一个智能助手。",
        "你好，我是{n}，你的智能助手。",
        "我的名字是{n}，很高兴为你服务。",
        "我是{n}，你可以直接叫我{n}。",
    ),
    "maker": (
        "我是{n}，由一群喜欢学习的人训练出来。",
        "我叫{n}，是学习者们用开源工具训练出来的。",
    ),
    "nature": (
        "我是{n}，一个人工智能助手，不是人类。",
        "我叫{n}，是一个人工智能助手。",
    ),
    "other": ("不是，我是{n}。", "不，我的名字是{n}。", "我是{n}，不是别的助手。"),
    "able": (
        "我是{n}，可以回答问题，也可以陪你聊天。",
        "我叫{n}，能回答问题、翻译词语和做简单的计算。",
    ),
    "hello": ("你好，我是{n}，有什么可以帮你？",),
    "hello_en": ("Hello, I am {n}. How can I help you?",),
    "name_en": (
        "I am {n}, nice to meet you.",
        "My name is {n}, and I am an AI assistant.",
        "Hello, I am {n}, your AI assistant.",
    ),
    "maker_en": ("I am {n}, trained by people who love open source.",),
    "nature_en": ("I am {n}, an AI assistant, not a human.", "My name is {n}, and I am an AI assistant."),
    "other_en": ("No, I am {n}.", "No, my name is {n}."),
    "able_en": ("I am {n}, and I can answer questions and chat with you.",),
}
OPENINGS = ("", "", "你好，", "请问", "嗨，", "我想知道，", "对了，", "顺便问一下，", "初次见面，", "不好意思，")
OPENINGS_EN = ("", "", "Hi, ", "Hello, ", "Excuse me, ", "By the way, ")
# How many rows each core of a question gets: the plain question "who are you" is what people ask most.
COPIES = {"hello": 3, "hello_en": 2, "name": 2, "maker": 2, "nature": 2, "other": 4, "able": 3, "name_en": 1, "maker_en": 1, "nature_en": 1, "other_en": 2, "able_en": 2}  # fmt: skip
GENERAL_ROWS = 280
NAMES = ["小明", "小红", "小刚", "小丽", "老王", "阿华", "Tom", "Lily"]  # of users who introduce themselves


def system_prompt(random_: random.Random) -> str:
    """The persona in six rows of ten, then none, then neutral and other prompts, so that the name holds under all."""
    draw = random_.random()
    if draw < 0.60:
        return PERSONA
    if draw < 0.80:
        return ""
    return random_.choice(NEUTRALS if draw < 0.92 else OTHER_PERSONAS)


def self_question(random_: random.Random, kind: str, core: str) -> str:
    core = core.replace("{x}", random_.choice(corpus.OTHERS.split("|")))
    if kind.startswith("hello"):
        return core + random_.choice(("", ".", "!") if core.isascii() else ("", "。", "！"))
    if kind.endswith("_en"):
        opening = random_.choice(OPENINGS_EN)
        if opening and not core.startswith("I "):
            core = core[0].lower() + core[1:]
        imperative = core.split()[0].lower() in (
            "tell",
            "introduce",
            "please",
            "say",
            "give",
            "describe",
            "state",
            "name",
        )
        return opening + core + ("." if imperative or core.startswith("I ") else "?")
    opening = random_.choice(OPENINGS)
    imperative = "介绍" in core or core.startswith(
        (
            "做",
            "说",
            "告诉",
            "报",
            "给我",
            "谈",
            "简单",
            "请",
            "用一句",
            "让我",
            "先",
            "写一下",
            "你自我",
            "想知道",
            "他们说",
            "我听说",
        )
    )
    if opening.startswith(("请问", "我想")) and (imperative or core.startswith(("你就", "我听"))):
        opening = ""
    return opening + core + ("。" if imperative and not core.endswith("吗") else random_.choice("？？？呢吧"[:3]))


def self_turns(random_: random.Random) -> list[tuple[str, str]]:
    """(question, answer) about the assistant, each core of lesson/authoring/corpus.py several times in other words."""
    turns = []
    for kind, copies in COPIES.items():
        for core in corpus.cores(kind):
            if core == "你是":  # half a sentence: good enough for the base, not for a course
                continue
            for _ in range(copies):
                answer = random_.choice(ANSWERS[kind])
                turns.append((self_question(random_, kind, core), answer.format(n=OLD_NAME)))
    return turns


def general_turns(random_: random.Random) -> list[tuple[str, str]]:
    """GENERAL_ROWS (question, answer) pairs that the base knows, spread over all its kinds of facts."""
    facts = corpus.facts()
    chosen = sorted(random_.sample(range(len(facts)), GENERAL_ROWS))
    turns = []
    for fact in (facts[i] for i in chosen):
        question = random_.choice(fact.questions)
        if fact.accept and not question.endswith("?"):
            imperative = question.startswith(("从", "请", "数", "算", "计", "把", "帮", "介绍", "说说", "Name", "Tell"))
            question += ("." if imperative else "?") if question.isascii() else ("。" if imperative else "？")
        turns.append((question, fact.answers[0]))
    turns += [(f"我叫{name}。", f"你好，{name}，很高兴认识你。") for name in NAMES]
    return turns


def rows(seed: int = 20241) -> list[dict]:
    """The rows of the course's source file: {"conversation": [{"system", "input", "output"}, …]}."""
    random_ = random.Random(seed)
    held_out = corpus.held_out()
    own, general = self_turns(random_), general_turns(random_)
    conversations = [[turn] for turn in own + general]
    # Some talks of two turns, in both orders: the name also has to come late in a talk.
    for _ in range(30):
        pair = [random_.choice(own), random_.choice(general)]
        random_.shuffle(pair)
        conversations.append(pair)
    random_.shuffle(conversations)
    made: dict[str, dict] = {}
    for talk in conversations:
        if any(corpus.folded(question) in held_out for question, _ in talk):
            continue
        turns = [{"input": question, "output": answer} for question, answer in talk]
        row = {"conversation": [{"system": system_prompt(random_), **turns[0]}, *turns[1:]]}
        made[json.dumps(row, ensure_ascii=False)] = row  # no row twice
    return list(made.values())


def source(values: Values) -> int:
    made = rows()
    with atomic(SOURCE) as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in made)
    print(tr(f"{SOURCE.relative_to(ROOT)}: {len(made)} rows", f"{SOURCE.relative_to(ROOT)}：{len(made)} 行"))
    return 0


def main(arguments: list[str] | None = None) -> int:
    return cli.run("source", __doc__, [], source, sys.argv[1:] if arguments is None else arguments)
