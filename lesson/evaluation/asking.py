"""Ask a loaded model: chats as tokens, greedy answers in batches, and one answer as it is made.

torch and transformers are imported inside the functions, after lesson.evaluation.loading has set caches and threads.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TextIO

from lesson.core.messages import UserError, tr
from lesson.evaluation.judging import Answer
from lesson.evaluation.rendering import render_chat

Chat = list[dict[str, str]]  # messages: {"role": system, user or assistant, "content": text}
TURN_ENDS = ("<|im_end|>", "<|eot_id|>")  # of ChatML (InternLM2, Qwen) and of Llama 3
LONGEST_ANSWER = 128  # tokens; the lesson's answers have at most about 60
BRIEF = 32  # tokens that most answers have at most
BATCH = 48  # chats at once on a CPU, and at least on a GPU
MOST_AT_ONCE = 256  # on a GPU, where a step takes as long for one as for a hundred, as far as memory goes


@dataclass(frozen=True)
class Sampling:
    """How words are chosen: temperature 0 is greedy (`top_p` then plays no part); at most `max_tokens` new tokens."""

    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = LONGEST_ANSWER

    def arguments(self) -> dict[str, object]:
        """Arguments of generate. top_k 0 switches off the 50 that transformers would apply on its own."""
        if self.temperature == 0:
            chosen = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        else:
            chosen = {"do_sample": True, "temperature": self.temperature, "top_p": self.top_p, "top_k": 0}
        return {**chosen, "max_new_tokens": self.max_tokens}


GREEDY = Sampling()


def build_chat(system: str, *turns: str) -> Chat:
    """A chat from a system prompt (left out when empty) and turns, user first, alternating."""
    head = [{"role": "system", "content": system}] if system else []
    return head + [{"role": ("user", "assistant")[i % 2], "content": turn} for i, turn in enumerate(turns)]


def encode_chat(tokenizer, chat: Chat) -> list[int]:
    """The chat as token ids, ending where the assistant begins to speak.

    A chat without a system message, or with an empty one, has no system block at all, as a row trained without a system
    prompt: what the template would put in by itself (lesson.evaluation.rendering) stands only where it is given as text.
    """
    return list(tokenizer(render_chat(tokenizer, chat), add_special_tokens=False)["input_ids"])


def find_end_tokens(tokenizer) -> list[int]:
    """The ids at which an answer ends: the tokenizer's own end, and those of ChatML and Llama 3 where they are known."""
    ids = [tokenizer.eos_token_id, *(tokenizer.convert_tokens_to_ids(token) for token in TURN_ENDS)]
    return sorted({i for i in ids if i is not None and i != tokenizer.unk_token_id})


def answer_chats(
    tokenizer,
    model,
    chats: Sequence[Chat],
    batch: int | None = None,
    report: Callable[[int], None] | None = None,
    sampling: Sampling = GREEDY,
) -> list[Answer]:
    """Answers, one per chat, in order: greedy ones unless `sampling`. Chats of like length share a batch, padded left.

    A batch takes as long as its longest answer. So all are asked for BRIEF tokens first, and the few answers that are
    longer go on together. `batch` is how many share one; unless it is given, what suits the device. `report` is called
    after each batch with the number of answers that are done.
    """
    ends = find_end_tokens(tokenizer)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else ends[0]
    prompts = [encode_chat(tokenizer, chat) for chat in chats]
    said: list[list[int]] = [[] for _ in prompts]
    waiting, whole = list(range(len(prompts))), [False] * len(prompts)
    parts = (BRIEF, sampling.max_tokens - BRIEF) if sampling.max_tokens > 2 * BRIEF else (sampling.max_tokens,)
    for number, tokens in enumerate(parts, 1):
        if not waiting:
            break
        waiting.sort(key=lambda i: len(prompts[i]) + len(said[i]))
        longest = len(prompts[waiting[-1]]) + len(said[waiting[-1]]) + tokens
        at_once = batch or choose_batch(model, longest)
        for start in range(0, len(waiting), at_once):
            group = waiting[start : start + at_once]
            asked = [prompts[i] + said[i] for i in group]
            for i, new in zip(
                group, continue_texts(model, asked, replace(sampling, max_tokens=tokens), ends, pad), strict=True
            ):
                stop = next((k for k, token in enumerate(new) if token in ends), None)
                said[i] += new[:stop]
                whole[i] = stop is not None
            if report:
                report(sum(whole[i] or number == len(parts) for i in group))
        waiting = [i for i in waiting if not whole[i]]
    texts = [tokenizer.decode(tokens, skip_special_tokens=True).strip() for tokens in said]
    return [Answer(text, ended) for text, ended in zip(texts, whole, strict=True)]


def choose_batch(model, tokens: int) -> int:
    """How many chats of `tokens` a batch may have: BATCH on a CPU; on a GPU up to MOST_AT_ONCE, in half of the memory that
    is free.

    A chat takes the keys and values of all layers in 2 bytes each, and its prompt's logits in 2 bytes and again in float32
    (modelling code that does not know which of them is asked for makes all).
    """
    import torch

    if torch.device(model.device).type != "cuda":
        return BATCH
    config = model.config
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    each = tokens * (config.num_hidden_layers * 2 * heads * size * 2 + config.vocab_size * 6)
    free = torch.cuda.mem_get_info(model.device)[0]
    return max(min(MOST_AT_ONCE, free // 2 // each), BATCH)


def continue_texts(model, texts: list[list[int]], sampling: Sampling, ends: list[int], pad: int) -> list[list[int]]:
    """What the model says after each of `texts`, as token ids; behind one of `ends` there may be padding."""
    import torch

    width = max(map(len, texts))
    ids = torch.full((len(texts), width), pad)
    mask = torch.zeros_like(ids)
    for row, tokens in enumerate(texts):
        ids[row, width - len(tokens) :] = torch.tensor(tokens)
        mask[row, width - len(tokens) :] = 1
    with torch.inference_mode():
        out = model.generate(
            input_ids=ids.to(model.device),
            attention_mask=mask.to(model.device),
            **sampling.arguments(),
            eos_token_id=ends,
            pad_token_id=pad,
        )
    return out[:, width:].tolist()


def show_asking(what: str, count: int, progress: TextIO, label: str = ""):
    """A bar of tqdm over `count` questions on the terminal `progress`, or one line where it is a file. `what` names who
    is asked, `label` stands before the bar in its place."""
    from tqdm import tqdm

    plain = not progress.isatty()
    if plain:
        text = tr(f"asking {what}: {count} questions", f"向 {what} 提问：{count} 个问题")
        print(text, file=progress, flush=True)
    return tqdm(total=count, unit="q", desc=label or what, disable=plain, file=progress)


def answer_with_progress(
    tokenizer, model, chats: Sequence[Chat], what: str, progress: TextIO, sampling: Sampling = GREEDY
) -> list[Answer]:
    """As answer_chats, shown as show_asking does. `what` names the model."""
    with show_asking(what, len(chats), progress) as bar:
        return answer_chats(tokenizer, model, chats, report=bar.update, sampling=sampling)


class Reply:
    """One answer as it is made, by a thread of its own: iterate over its pieces of text as they come.

    Use it as a context manager: leaving the block ends the answer and frees the model, wherever the reader was.
    `turn` gives the context in which the model generates (`Models` waits there for the answer before this one). After
    the last piece, `ended` says whether the model stopped by itself, and `tokens` how many tokens the text has (the end
    token not counted, so an answer that was cut at its limit has exactly `max_tokens`). Raises UserError when the chat
    leaves no room for an answer; an error of the generating thread is raised to the reader.
    """

    def __init__(
        self,
        tokenizer,
        model,
        chat: Chat,
        sampling: Sampling = GREEDY,
        turn: Callable[[], contextlib.AbstractContextManager] = contextlib.nullcontext,
    ) -> None:
        import torch
        from transformers import StoppingCriteria, TextIteratorStreamer

        ids = encode_chat(tokenizer, chat)
        self.prompt_tokens, self.tokens, self.ended = len(ids), 0, False
        limit = model.config.max_position_embeddings
        if len(ids) + sampling.max_tokens > limit:
            raise UserError(
                tr("conversation", "对话"),
                tr(
                    f"{len(ids)} tokens and an answer of {sampling.max_tokens} are more than the model's {limit}",
                    f"{len(ids)} 个 token 加上 {sampling.max_tokens} 个 token 的回答，超过模型的上限 {limit}",
                ),
                tr("begin a new conversation or ask for fewer tokens", "请清空对话，或减少回答的 token 数"),
            )
        ends = find_end_tokens(tokenizer)
        stopped = self._stopped = threading.Event()

        class Stopped(StoppingCriteria):
            def __call__(self, ids, scores, **_):
                return torch.full((ids.shape[0],), stopped.is_set(), device=ids.device)

        inputs = torch.tensor([ids], device=model.device)
        self._streamer = TextIteratorStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
        arguments = {
            "input_ids": inputs,
            "attention_mask": torch.ones_like(inputs),
            "streamer": self._streamer,
            "stopping_criteria": [Stopped()],
            "eos_token_id": ends,
            "pad_token_id": ends[0],
            **sampling.arguments(),
        }
        self._error: Exception | None = None

        def generate() -> None:
            try:
                with turn():
                    if not stopped.is_set():  # it may have been while the thread waited for its turn
                        new = model.generate(**arguments)[0, len(ids) :].tolist()
                        self.ended = bool(new) and new[-1] in ends
                        self.tokens = len(new) - self.ended
            except Exception as error:  # raised again by __iter__, where somebody reads
                self._error = error
            finally:
                self._streamer.end()

        self._thread = threading.Thread(target=generate, daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[str]:
        yield from (piece for piece in self._streamer if piece)
        self._thread.join()
        if self._error is not None:
            raise self._error

    def __enter__(self) -> Reply:
        return self

    def __exit__(self, *_: object) -> None:
        """Stop: the model makes at most the token that it is at. Does not wait for it."""
        self._stopped.set()
