"""Does another program write a chat in the tokens that were trained? Most exports that lose a name fail here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lesson.core.messages import UserError, tr
from lesson.evaluation.asking import Chat, build_chat, encode_chat
from lesson.evaluation.rendering import find_system_block
from lesson.export.engine import Engine

QUESTIONS = ("你是谁？", "Who are you?", "Name 3 cities,\n    please: a/b…")


@dataclass(frozen=True)
class Difference:
    """A chat that the engine writes in other tokens than the training did: the first place, and the pieces there."""

    chat: Chat
    place: int
    trained: str
    here: str

    def __str__(self) -> str:
        last = self.chat[-1]["content"]
        return tr(
            f"the prompt of {last!r} differs at token {self.place}: trained {self.trained!r}, here {self.here!r}",
            f"{last!r} 的提示在第 {self.place} 个 token 处不同：训练时 {self.trained!r}，这里 {self.here!r}",
        )


def prepare_messages(tokenizer, chat: Chat) -> Chat | None:
    """The messages for the engine's own template; None where that would put a system prompt in that the chat has not."""
    if chat[0]["role"] == "system" and chat[0]["content"]:
        return list(chat)
    block = find_system_block(tokenizer)
    return [message for message in chat if message["role"] != "system"] if block.before == block.bare else None


def find_difference(chat: Chat, trained: Sequence[int], own: Sequence[int], tokenizer) -> Difference:
    """The first place where two lists of tokens differ, with the pieces of text that stand there."""
    place = next(
        (i for i, pair in enumerate(zip(trained, own, strict=False)) if pair[0] != pair[1]), min(len(trained), len(own))
    )
    pieces = [tokenizer.decode(tokens[place : place + 1]) for tokens in (trained, own)]
    return Difference(chat, place, *pieces)


def check_prompts(engine: str, model: Path, tokenizer, persona: str) -> None:
    """Load `model` in `engine` and compare a few chats. Raises UserError that says where the first one differs.

    `tokenizer` is the merged model's, `persona` the system prompt that was trained.
    """
    chats = [build_chat(system, question) for system in (persona, "") for question in QUESTIONS]
    sent = [(prepare_messages(tokenizer, chat), encode_chat(tokenizer, chat)) for chat in chats]
    with Engine(engine, model) as opened:
        answers = opened.answer(sent, 1)
    for chat, (_, tokens), answer in zip(chats, sent, answers, strict=True):
        if answer.own is not None and answer.own != tokens:
            raise UserError(
                model.name,
                str(find_difference(chat, tokens, answer.own, tokenizer)),
                tr(
                    f"{engine} does not know this base's tokenizer (PROFILE=tiny's is one): make export FORMAT=hf",
                    f"{engine} 不认识这个基座的分词器（PROFILE=tiny 的就是）：make export FORMAT=hf",
                ),
            )
