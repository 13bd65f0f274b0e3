"""Loading the model that a user talks to, and its greedy answers: what eval, chat and preview share.

Import torch-heavy things only inside functions, after `use_environment` has set caches and threads.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from recipe import runs
from recipe.files import read_json
from recipe.runs import Run
from recipe.say import UserError, tr
from recipe.settings import ROOT, Values

PROMPTS = ROOT / "data" / "eval" / "prompts.json"
LONGEST_ANSWER = 128  # tokens; the lesson's answers have at most about 60


@dataclass(frozen=True)
class Answer:
    """What a model said; `ended` is True when it stopped by itself before the limit."""

    text: str
    ended: bool


def use_environment(values: Values) -> None:
    """Put caches under BUILD and fix threads in this process, as the trainer's has it. Call before importing torch."""
    os.environ.update(runs.engine_environment(values))


def system_prompts(persona: str) -> dict[str, str]:
    """The three system prompts of the evaluation: the persona trained on, none, and a neutral one."""
    neutral = read_json(PROMPTS, tr("restore it from git", "请从 git 恢复"))["neutral"]
    return {"persona": persona, "none": "", "neutral": neutral}


def load(values: Values, use: str, run: Run | None = None, folder: Path | None = None):
    """(tokenizer, model) of `use`: merged, adapter (base + adapter) or base. The model is on its device, in eval mode.

    `folder` is another model than BUILD's own, for a rerun.

    At tiny: float32 on the CPU. At 7b: bfloat16 on the GPU. Raises UserError when a part is not there yet.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    base = values.build / "model"
    folder = folder or (run.merged if use == "merged" else base)
    steps = {
        "merged": tr("run make merge", "请先运行 make merge"),
        "adapter": tr("run make model", "请先运行 make model"),
    }
    if not (folder / "config.json").is_file():
        raise UserError(folder, tr("no model there", "这里没有模型"), steps.get(use, steps["adapter"]))
    on_gpu = values.profile == "7b" and torch.cuda.is_available()
    model = AutoModelForCausalLM.from_pretrained(
        folder,
        trust_remote_code=True,
        torch_dtype=torch.bfloat16 if on_gpu else torch.float32,
        device_map="cuda" if on_gpu else None,
    )
    if use == "adapter":
        from peft import PeftModel

        if not (run.adapter / "adapter_config.json").is_file():
            raise UserError(
                run.adapter, tr("no adapter there", "这里没有适配器"), tr("run make convert", "请先运行 make convert")
            )
        model = PeftModel.from_pretrained(model, run.adapter)
    model.eval()
    model.config.use_cache = True
    return AutoTokenizer.from_pretrained(folder, trust_remote_code=True), model


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
                do_sample=False,
                temperature=None,
                top_p=None,
                top_k=None,
                max_new_tokens=LONGEST_ANSWER,
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
