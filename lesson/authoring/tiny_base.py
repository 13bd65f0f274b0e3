"""Training the tiny base from scratch: InternLM2's architecture in small, on text of our own.

The architecture is that of the installed xtuner's modelling files. The conversations of corpus.py come in the very form
in which XTuner feeds rows to a model: packed one after another, and also alone, as at inference.
"""

from __future__ import annotations

import math
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

from lesson.authoring.batches import draw_batches
from lesson.authoring.compare_bases import compare_bases, own_files
from lesson.authoring.tokenizer import SPECIAL, make_tokenizer
from lesson.core import layout
from lesson.core.files import atomic_folder, write_json
from lesson.core.messages import tr
from lesson.core.settings import ROOT, Values
from lesson.evaluation.loading import use_environment
from lesson.model.tiny_base import SHIPPED, copy_files, modelling_files

SIZES = {
    "hidden_size": 160,
    "intermediate_size": 448,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
SEED = 20241
STEPS = 1400
PEAK_LR, WARMUP_STEPS = 2.5e-3, 60
THREADS = 2  # fixed, since sums in another order differ in their last bits


def build_base(folder: Path, progress: TextIO, steps: int = STEPS) -> None:
    """Train tokenizer and model from scratch into `folder` (a new one): all files of data/tiny-base and the code."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.utils import logging

    logging.set_verbosity_error()
    torch.set_num_threads(THREADS)
    torch.manual_seed(SEED)
    torch.use_deterministic_algorithms(True)
    for file in modelling_files():
        shutil.copyfile(file, folder / file.name)
    tokenizer = make_tokenizer(folder, SEED)
    write_config(folder, len(tokenizer))
    config = AutoConfig.from_pretrained(folder, trust_remote_code=True, attn_implementation="sdpa")
    model = AutoModelForCausalLM.from_config(config, trust_remote_code=True)
    train_model(model, tokenizer, steps, progress)
    model.half().save_pretrained(folder, safe_serialization=True)
    write_config(folder, len(tokenizer))  # save_pretrained wrote its own, with versions in it


def write_config(folder: Path, vocabulary: int) -> None:
    """config.json and generation_config.json, in one stable form."""
    tokens = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}
    write_json(
        folder / "config.json",
        {
            "architectures": ["InternLM2ForCausalLM"],
            "auto_map": {
                "AutoConfig": "configuration_internlm2.InternLM2Config",
                "AutoModel": "modeling_internlm2.InternLM2ForCausalLM",
                "AutoModelForCausalLM": "modeling_internlm2.InternLM2ForCausalLM",
            },
            "model_type": "internlm2",
            "vocab_size": vocabulary,
            **SIZES,
            "bias": False,
            "hidden_act": "silu",
            "initializer_range": 0.02,
            "max_position_embeddings": 2048,
            "rms_norm_eps": 1e-05,
            "rope_theta": 10000,
            "rope_scaling": None,
            "tie_word_embeddings": False,
            "pretraining_tp": 1,
            **tokens,
            "torch_dtype": "float16",
            "use_cache": True,
        },
    )
    write_json(
        folder / "generation_config.json",
        {"do_sample": False, "max_new_tokens": 128, **tokens, "eos_token_id": [2, SPECIAL.index("<|im_end|>")]},
    )


def train_model(model, tokenizer, steps: int, progress: TextIO) -> None:
    """AdamW on answers only, learning rate rising for WARMUP_STEPS and then falling along a cosine to 2 %.

    `progress` shows a bar if it is a terminal, else a line every 50 steps.
    """
    import torch
    from torch.nn.functional import cross_entropy

    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.05}, {"params": vectors, "weight_decay": 0.0}],
        lr=PEAK_LR,
        betas=(0.9, 0.98),
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min((step + 1) / WARMUP_STEPS, 0.02 + 0.49 * (1 + math.cos(math.pi * min(1, step / steps)))),
    )
    model.train()
    batches = draw_batches(tokenizer, SEED + 1)
    terminal = progress.isatty()
    start = time.monotonic()
    with tqdm(total=steps, unit="step", desc="base", file=progress, disable=not terminal) as bar:
        for step in range(1, steps + 1):
            ids, trained = (torch.tensor(part) for part in next(batches))
            hidden = model.model(input_ids=ids, use_cache=False)[0]
            chosen = trained[:, 1:]  # the state before a trained token predicts it; other states need no logits
            loss = cross_entropy(model.output(hidden[:, :-1][chosen]).float(), ids[:, 1:][chosen])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            bar.update()
            bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
            if not terminal and (step % 50 == 0 or step == steps):
                left = (time.monotonic() - start) / step * (steps - step)
                print(tr(f"step {step}/{steps}  loss {loss.item():.3f}  {left:.0f} s left", f"第 {step}/{steps} 步  loss {loss.item():.3f}  剩余 {left:.0f} 秒"), file=progress, flush=True)  # fmt: skip


@dataclass(frozen=True)
class RebuiltBase:
    """The folder that was trained, the bytes of its own files, and how it compares with the shipped base, in lines."""

    folder: Path
    size: int
    differences: tuple[str, ...]  # empty when it took the shipped one's place
    shipped: bool


def rebuild_base(values: Values, progress: TextIO, update: bool = False) -> RebuiltBase:
    """Train into BUILD/base and compare with data/tiny-base; with `update`, put it there instead."""
    use_environment(values)
    target = layout.trained_base(values.build)
    with atomic_folder(target) as folder:
        build_base(folder, progress)
    size = sum(file.stat().st_size for file in own_files(target))
    if update:
        copy_files(own_files(target), SHIPPED)
    return RebuiltBase(target, size, () if update else tuple(compare_bases(target)), update)


def lines_of(base: RebuiltBase) -> list[str]:
    """The folder with its size, and what became of it or how it compares."""
    mebibytes = f"{base.size / 2**20:.1f} MiB"
    put = SHIPPED.relative_to(ROOT)
    return [
        tr(f"{base.folder}: {mebibytes}", f"{base.folder}：{mebibytes}"),
        *([tr(f"put into {put}", f"已写入 {put}")] if base.shipped else base.differences),
    ]
