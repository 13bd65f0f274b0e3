"""The texts of a conversation on the page: what is taken from a visitor, and the conversation as a document."""

from __future__ import annotations

import json
import re

from lesson.core.messages import UserError, tr
from lesson.core.text import is_unicode
from lesson.evaluation.asking import Chat

LONGEST_QUESTION = 4000  # characters
LONGEST_CONVERSATION = 100_000  # characters


def read_history(history: list[dict]) -> Chat:
    """A chat from what gradio hands over; anything but text of a user or an assistant is left out."""
    result = []
    for message in history:
        parts = message["content"] if isinstance(message["content"], list) else [message["content"]]
        texts = [part if isinstance(part, str) else part.get("text") for part in parts]
        text = "".join(part for part in texts if isinstance(part, str))
        if text and message["role"] in ("user", "assistant"):
            result.append({"role": message["role"], "content": text})
    return result


def refuse_unusable_texts(*texts: str) -> None:
    """Raise UserError when a question or a system prompt, or all of a conversation, is longer than the page takes, or holds
    half of a surrogate pair, which JSON can write and nothing else can."""
    if not all(map(is_unicode, texts)):
        raise UserError(
            tr("not text", "不是文本"),
            tr("half of a surrogate pair is no character", "半个代理对不是字符"),
            tr("type it anew", "请重新输入"),
        )
    longest, total = max(map(len, texts)), sum(map(len, texts))
    if longest > LONGEST_QUESTION or total > LONGEST_CONVERSATION:
        limit = LONGEST_QUESTION if longest > LONGEST_QUESTION else LONGEST_CONVERSATION
        raise UserError(
            tr("too long", "过长"),
            tr(f"at most {limit} characters", f"最多 {limit} 个字符"),
            tr("shorten it, or begin a new conversation", "请缩短，或清空对话"),
        )


def escape_markdown(text: str) -> str:
    """`text` as Markdown that shows it as it is: CommonMark takes a backslash before any ASCII punctuation."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", " ".join(text.split()))


def format_conversation(form: str, conversation: Chat, about: dict[str, object]) -> str:
    """The conversation as a document: `json`, or `md` with each text in a fence that nothing in it can close.

    `about` says how it came about: at least the assistant's `name` (may be empty) and the model in `use`.
    """
    if form == "json":
        return json.dumps({"format": 1, **about, "messages": conversation}, ensure_ascii=False, indent=2) + "\n"
    title = about["name"] or about["use"]
    lines = [f"# {escape_markdown(tr(f'A conversation with {title}', f'与{title}的对话'))}", ""]
    lines += [f"- {key}: {escape_markdown(str(value))}" for key, value in about.items() if value not in ("", None)]
    speakers = {
        "user": tr("User", "用户"),
        "assistant": escape_markdown(title),
        "system": tr("System prompt", "系统提示"),
    }
    for message in conversation:
        fence = "`" * max(3, 1 + max(map(len, re.findall("`+", message["content"])), default=0))
        lines += ["", f"**{speakers[message['role']]}**", "", f"{fence}text", message["content"], fence]
    return "\n".join(lines) + "\n"
