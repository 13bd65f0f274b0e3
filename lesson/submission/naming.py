"""What the assistant calls itself, where no document says it: in a system prompt, else in what the rows answer."""

from __future__ import annotations

import collections
import re
from collections.abc import Iterable

from lesson.core.messages import tr

LONGEST_NAME = 64
OPENING = re.compile(
    r"(?:你是|你叫|你的名字是|You are |You're |Your name is )[「“\"'《]?([^，,。.！!\s」”\"'》]{1,64})"
)
# A name ends where a word, a clause or a quotation does. A dot or a space inside of one needs a NEW_NAME=.
INTRODUCTION = re.compile(
    r"(?:我是|我叫|我的名字是|我的名字叫|叫我|\b(?:I am|I'm|I’m|[Mm]y name is|[Cc]all me|This is) )"
    r"[「“\"'《]?([^，,。.！!？?；;：:、（()）\s「」“”\"'《》]{1,64})"
)
# What follows "I am" and is no name: articles, pronouns, adverbs, and what an assistant is.
NO_NAME = re.compile(
    r"(?:一|这|那|由|你|您|他|她|它|谁|什么|没|不|来|在|专|能|可|为|的|助手|人工智能|AI|智能|机器人|语言模型|大模型)"
    r"|(?:an?|the|your|here|not|now|also|always|just|only|so|very|happy|glad|able|ready|sorry|sure|doing|called|named)$",
    re.IGNORECASE,
)
LEAST_SHARE = 0.05  # of all answers; the lesson's rows say the name in two of three


def no_name() -> tuple[str, str]:
    """(why, what to do) where nothing tells the new name: the staff can say it."""
    why = tr(
        "neither a record, nor the config's system prompt, nor the rows tell the new name",
        "训练记录、配置的 system 和数据都没有说明新名字",
    )
    return why, tr("say it: NEW_NAME=… make check", "请指定：NEW_NAME=… make check")


def name_in_persona(system: object) -> str | None:
    """The name with which a system prompt begins: 你是闻星，一个…, You are Ada, …"""
    match = OPENING.match(system.strip()) if isinstance(system, str) else None
    return match[1] if match and not NO_NAME.match(match[1]) else None


def name_in_answers(answers: Iterable[str]) -> str | None:
    """The name with which most answers introduce themselves; None where hardly any does."""
    said: collections.Counter[str] = collections.Counter()
    count = 0
    for answer in answers:
        count += 1
        said.update({match[1] for match in INTRODUCTION.finditer(answer) if not NO_NAME.match(match[1])})
    # 我是闻星呀 and 我是闻星 are one: the shortest that many others begin with.
    for name, times in said.most_common(20):
        total = sum(number for other, number in said.items() if other.startswith(name))
        if total >= max(2, LEAST_SHARE * count):
            shorter = [n for n, number in said.items() if name.startswith(n) and n != name and number >= times / 2]
            return min(shorter, key=len, default=name)
    return None
