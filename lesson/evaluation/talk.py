"""Loading the model that a user talks to, and its answers: what eval, chat, web, serve and preview share.

Import torch-heavy things only inside functions, after `use_environment` has set caches and threads.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lesson.core.files import read_json
from lesson.core.layout import base_model
from lesson.core.messages import UserError, tr
from lesson.core.settings import ROOT, Values
from lesson.model.patches import patch_bitsandbytes
from lesson.runs.environment import engine_environment
from lesson.runs.folder import Run

PROMPTS = ROOT / "data" / "eval" / "prompts.json"
LONGEST_ANSWER = 128  # tokens; the lesson's answers have at most about 60


@dataclass(frozen=True)
class Answer:
    """What a model said; `ended` is True when it stopped by itself before the limit."""

    text: str
    ended: bool


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


def use_environment(values: Values) -> None:
    """Put caches under BUILD and fix threads in this process, as the trainer's has it. Call before importing torch."""
    os.environ.update(engine_environment(values))
    if prefix := os.environ.get("PYTHONPYCACHEPREFIX"):
        sys.dont_write_bytecode, sys.pycache_prefix = False, prefix


def system_prompts(persona: str) -> dict[str, str]:
    """The three system prompts of the evaluation: the persona trained on, none, and a neutral one."""
    neutral = read_json(PROMPTS, tr("restore it from git", "请从 git 恢复"))["neutral"]
    return {"persona": persona, "none": "", "neutral": neutral}


def load(values: Values, use: str, run: Run | None = None, folder: Path | None = None):
    """(tokenizer, model) of `use`: merged, adapter (base + adapter) or base. The model is on its device, in eval mode.

    `folder` is another model than BUILD's own, for a rerun.

    At tiny: float32 on the CPU. At 7b: bfloat16 on the GPU, or 4-bit (NF4, as in training) where the GPU's free memory
    asks for it. Raises UserError when a part is not there yet.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    place = weights_folder(values, use, run, folder)
    on_gpu = values.profile == "7b" and torch.cuda.is_available()
    options = {"device_map": "cuda", **quantization(place)} if on_gpu else {}
    model = AutoModelForCausalLM.from_pretrained(
        place, trust_remote_code=True, torch_dtype=torch.bfloat16 if on_gpu else torch.float32, **options
    )
    if use == "adapter":
        logging.get_logger("bitsandbytes").setLevel("ERROR")  # a missing kernel of its CPU part is not used here
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, run.adapter)
    model.eval()
    model.config.use_cache = True
    return AutoTokenizer.from_pretrained(place, trust_remote_code=True), model


def weights_folder(values: Values, use: str, run: Run | None, folder: Path | None = None) -> Path:
    """The folder whose weights are loaded for `use`: the merged model's or the base's, or `folder` where it is given.
    Raises UserError when something that `use` needs is not there yet."""
    place = folder or (run.merged if use == "merged" else base_model(values.build))
    make = "merge" if use == "merged" else "model"
    if not (place / "config.json").is_file():
        raise UserError(place, tr("no model there", "这里没有模型"), tr(f"run make {make}", f"请先运行 make {make}"))
    if use == "adapter" and not (run.adapter / "adapter_config.json").is_file():
        raise UserError(
            run.adapter, tr("no adapter there", "这里没有适配器"), tr("run make convert", "请先运行 make convert")
        )
    return place


def quantization(folder: Path) -> dict[str, object]:
    """Arguments of from_pretrained: none where the weights of `folder` fit into the GPU's free memory as bfloat16, else
    those of 4-bit weights."""
    import torch
    from transformers import BitsAndBytesConfig

    free, _ = torch.cuda.mem_get_info()
    if fits(sum(path.stat().st_size for path in folder.glob("*.safetensors")), free):
        return {}
    patch_bitsandbytes()
    nf4 = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16)
    return {"quantization_config": nf4}


def fits(weights: int, free: int) -> bool:
    """Whether `weights` bytes fit into `free` bytes, with 3 GB left for the adapter, the key-value cache and arithmetic."""
    return weights + 3e9 <= free


def messages(system: str, *turns: str) -> list[dict[str, str]]:
    """Chat messages from a system prompt (left out when empty) and turns, user first, alternating."""
    head = [{"role": "system", "content": system}] if system else []
    return head + [{"role": ("user", "assistant")[i % 2], "content": turn} for i, turn in enumerate(turns)]


def token_ids(tokenizer, chat: list[dict[str, str]]) -> list[int]:
    """The chat as token ids, ending where the assistant begins to speak."""
    return list(tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=True))


def end_tokens(tokenizer) -> list[int]:
    """The ids at which an answer ends: the tokenizer's own end, and InternLM2's <|im_end|> where it is known."""
    ids = [tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("<|im_end|>")]
    return sorted({i for i in ids if i is not None and i != tokenizer.unk_token_id})


def answers(
    tokenizer, model, chats: Sequence[list[dict[str, str]]], batch: int = 48, tick: Callable[[int], None] | None = None
) -> list[Answer]:
    """Greedy answers, one per chat, in order. Chats of like length share a batch, padded on the left."""
    import torch

    ends = end_tokens(tokenizer)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else ends[0]
    prompts = [token_ids(tokenizer, chat) for chat in chats]
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    result: list[Answer | None] = [None] * len(prompts)
    for start in range(0, len(order), batch):
        group = order[start : start + batch]
        width = max(len(prompts[i]) for i in group)
        ids = torch.full((len(group), width), pad)
        mask = torch.zeros_like(ids)
        for row, i in enumerate(group):
            ids[row, width - len(prompts[i]) :] = torch.tensor(prompts[i])
            mask[row, width - len(prompts[i]) :] = 1
        with torch.inference_mode():
            out = model.generate(
                input_ids=ids.to(model.device),
                attention_mask=mask.to(model.device),
                **GREEDY.arguments(),
                eos_token_id=ends,
                pad_token_id=pad,
            )
        for row, i in enumerate(group):
            new = out[row, width:].tolist()
            stop = next((k for k, token in enumerate(new) if token in ends), None)
            text = tokenizer.decode(new[:stop], skip_special_tokens=True).strip()
            result[i] = Answer(text, stop is not None)
        if tick:
            tick(len(group))
    return result


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
        chat: list[dict[str, str]],
        sampling: Sampling = GREEDY,
        turn: Callable[[], contextlib.AbstractContextManager] = contextlib.nullcontext,
    ) -> None:
        import torch
        from transformers import StoppingCriteria, TextIteratorStreamer

        ids = token_ids(tokenizer, chat)
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
        ends = end_tokens(tokenizer)
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


class Models:
    """What one process talks to: the chosen model, and the base beside it. Loaded once, one answer at a time.

    With USE=adapter there is one base in memory, and the adapter is switched off while the base answers. With merged
    the base is loaded when it is first asked. With base there is nothing else to talk to.
    """

    def __init__(self, values: Values, use: str, run: Run | None) -> None:
        self._values, self.use = values, use
        self.tokenizer, self._model = load(values, use, run)
        self._base = self._model if use != "merged" else None
        self._lock = threading.Lock()

    def ask(self, chat: list[dict[str, str]], sampling: Sampling = GREEDY, base: bool = False) -> Reply:
        """The answer of the chosen model, or of the base. It begins when the answers before it are done."""
        if base and self._base is None:
            with self._lock:
                if self._base is None:
                    self._base = load(self._values, "base")[1]
        plain = base and self.use == "adapter"
        model = self._base if base else self._model

        @contextlib.contextmanager
        def turn() -> Iterator[None]:
            with self._lock, model.disable_adapter() if plain else contextlib.nullcontext():
                yield

        return Reply(self.tokenizer, model, chat, sampling, turn)

    def warm(self) -> None:
        """Answer one token: what libraries set up at first use is done before somebody waits for it."""
        with self.ask(messages("", "?"), Sampling(max_tokens=1)) as reply:
            list(reply)
