"""Questions of one or several turns: the model's own answers stand between the user's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lesson.evaluation.asking import Chat, build_chat
from lesson.evaluation.judging import Answer


@dataclass(frozen=True)
class Question:
    """One question under one system prompt: `kind` is identity or general, `prompt` the prompt's name, `text` one of
    lesson.evaluation.held_out, with the user's earlier turns under "before"."""

    kind: str
    prompt: str
    system: str
    text: dict


def ask_in_turns(
    questions: Sequence[Question], answer: Callable[[list[Chat]], list[Answer]]
) -> list[tuple[list[str], Answer]]:
    """(turns before the question, the last answer) of each; `answer` gives the answers to chats, in order.

    The first turns of all questions are asked together, then the second ones, and so on.
    """
    waiting = [[*q.text.get("before", []), q.text["input"]] for q in questions]
    said: list[list[str]] = [[] for _ in questions]
    last: list[Answer | None] = [None] * len(questions)
    for turn in range(max(map(len, waiting), default=0)):
        now = [i for i, turns in enumerate(waiting) if turn < len(turns)]
        for i in now:
            said[i].append(waiting[i][turn])
        for i, found in zip(now, answer([build_chat(questions[i].system, *said[i]) for i in now]), strict=True):
            last[i] = found
            said[i].append(found.text)
    return [(turns[:-2], found) for turns, found in zip(said, last, strict=True)]
