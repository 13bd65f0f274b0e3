"""Chats as the model's own template writes them, with and without the system prompt that a template puts in by itself.

Qwen2.5's template writes "You are Qwen, created by Alibaba Cloud…" where a chat has no system prompt. A row trained
without one has no such block: to ask as it was trained, the block has to go.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

SYSTEM, USER = "SYSTEM-7f3a", "USER-7f3a"  # texts that no template holds
MARK = re.compile(r"<\|[^<>|]+\|>")  # a special token in a template of ChatML's or Llama 3's form


@dataclass(frozen=True)
class SystemBlock:
    """What a template writes before a chat's first question, where the chat has no system prompt (`before`), and what a
    row trained without one has there (`bare`); `default` is the text of the block between the two, empty without one."""

    default: str
    before: str
    bare: str


def find_system_block(tokenizer) -> SystemBlock:
    """Found by rendering a chat with and without a system prompt, and comparing the two."""
    user = {"role": "user", "content": USER}
    without = _render(tokenizer, [user])
    before = without.partition(USER)[0]
    nothing = SystemBlock("", before, before)
    try:
        given = _render(tokenizer, [{"role": "system", "content": SYSTEM}, user])
    except Exception:  # a template without a place for a system prompt raises an error of its own
        return nothing
    head, found, rest = given.partition(SYSTEM)
    middle = rest.partition(USER)[0]
    # The block's first mark, where the user's turn has the same one: what stands before it begins every chat.
    mark = next((m for m in MARK.findall(head) if m in middle), None) if found else None
    if mark is None or not (before.startswith(head) and before.endswith(middle)) or len(before) < len(head + middle):
        return nothing
    bare = head[: head.index(mark)] + middle[middle.index(mark) :]
    return SystemBlock(before[len(head) : len(before) - len(middle)].strip(), before, bare)


def encode_without_system(tokenizer, chat: list[dict[str, str]]) -> list[int]:
    """A chat that begins with the user as token ids, without the block that the template would put before it."""
    block = find_system_block(tokenizer)
    text = _render(tokenizer, chat)
    if text.startswith(block.before):
        text = block.bare + text[len(block.before) :]
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _render(tokenizer, chat: list[dict[str, str]]) -> str:
    return tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
