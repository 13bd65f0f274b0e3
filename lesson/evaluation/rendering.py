"""Chats as the model's own template writes them, with and without the system prompt that a template puts in by itself.

Qwen2.5's template writes "You are Qwen, created by Alibaba Cloud…" where a chat has no system prompt. A row trained
without one has no such block: to ask as it was trained, the block has to go.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from lesson.model.known_bases import official_prompts

SYSTEM, USER = "SYSTEM-7f3a", "USER-7f3a"  # texts that no template holds
_KEPT = "_lesson_system_block"  # the attribute of a tokenizer that holds (template, what was found)
MARK = re.compile(r"<\|[^<>|]+\|>")  # a special token in a template of ChatML's or Llama 3's form


@dataclass(frozen=True)
class SystemBlock:
    """What a template writes before a chat's first question, where the chat has no system prompt (`before`), and what a
    row trained without one has there (`bare`); `default` is the text of the block between the two, empty without one."""

    default: str
    before: str
    bare: str


def find_system_block(tokenizer) -> SystemBlock:
    """Found by rendering a chat with and without a system prompt, and comparing the two; once for each template."""
    template = getattr(tokenizer, "chat_template", None)
    kept = getattr(tokenizer, _KEPT, None)
    if kept is None or kept[0] != template:
        kept = template, _compare_renderings(tokenizer)
        setattr(tokenizer, _KEPT, kept)
    return kept[1]


def _compare_renderings(tokenizer) -> SystemBlock:
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
    default = before[len(head) : len(before) - len(middle)]
    return SystemBlock(default if default.strip() else "", before, bare)


def find_default_prompt(tokenizer, base: dict | None) -> str:
    """The system prompt that belongs to a base: what its template puts in by itself, else the official one of its family
    (InternLM's code has one, its template none); empty without either. `base` is a run's description of its base."""
    if found := find_system_block(tokenizer).default:
        return found
    official = official_prompts(base.get("name"), base.get("model_type")) if base else ()
    return official[0] if official else ""


def render_chat(tokenizer, chat: list[dict[str, str]]) -> str:
    """A chat as the model reads it, ending where the assistant begins to speak. Without a system message, or with an
    empty one, it has no system block, whatever the template would put in."""
    if chat and chat[0]["role"] == "system":
        if chat[0]["content"]:
            return _render(tokenizer, chat)
        chat = chat[1:]
    text, block = _render(tokenizer, chat), find_system_block(tokenizer)
    return block.bare + text[len(block.before) :] if text.startswith(block.before) else text


def _render(tokenizer, chat: list[dict[str, str]]) -> str:
    return tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
