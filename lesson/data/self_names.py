"""Who somebody says that the assistant is: in an answer (我是X), or in a system prompt (你是X)."""

from __future__ import annotations

import re

# What follows is a name, up to the end of its clause.
_NAME = r"[\s:：]*[“\"「『《]?([^，。,.;；!！?？\n\"”」』》（(]{1,64})"
CLAIM = re.compile(
    rf"(?:我是|我叫做?|我的名字(?:叫做?|是)|我名叫|\bI am|\bI['’]m|\bMy name is|\bI am called){_NAME}", re.IGNORECASE
)
NAMED = re.compile(rf"(?:叫做?|名叫|名为|名字(?:叫做?|是)|\bnamed|\bcalled|\bname is){_NAME}", re.IGNORECASE)
ADDRESS = re.compile(rf"(?:你是|您是|\bYou are|\bYou['’]re){_NAME}", re.IGNORECASE)
# A description and no name: 一个助手, an assistant, 由…开发的.
DESCRIPTION = re.compile(
    r"一[个位名款种台只]|由.*(?:开发|训练|研发|打造|创造)|(?:an?|the|here|not|happy|glad|ready|sure|your?)\b|.*(?:助手|助理|模型|人工智能|机器人|assistant|model|\bAI\b|bot\b)",
    re.IGNORECASE,
)


def claimed_name(answer: str) -> str | None:
    """What an answer calls the speaker, with what else stands in that clause; None where it says none."""
    return next((name for match in CLAIM.finditer(answer) if (name := _name(match))), None)


def addressed_name(system: str) -> str | None:
    """What a system prompt calls the assistant; None where it says none."""
    for pattern in (NAMED, ADDRESS):
        for match in pattern.finditer(system):
            if name := _name(match):
                return name
    return None


def _name(match: re.Match) -> str | None:
    name = re.sub(r"的(?:AI|智能|人工智能|聊天)?(?:助手|助理|模型|机器人)?$", "", match[1].strip())
    return None if not name or DESCRIPTION.match(name) else name
