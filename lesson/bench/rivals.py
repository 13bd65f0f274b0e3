"""The trainers that `SPEED=fast` is held against: which versions, with which settings, where they are installed.

Each lies in a venv of its own, .venv-rivals/NAME, because no two of them take the same transformers; `how_to_install` says
what makes it. Each trains twice: as it comes, and with its own tricks. lesson/bench/rival_trainers.py is the process.
"""

from __future__ import annotations

import itertools
import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lesson.bench.plain_peft import list_tokens
from lesson.core.files import read_json
from lesson.core.messages import UserError, tr
from lesson.core.processes import run_process
from lesson.core.settings import ROOT
from lesson.training.memory import CUDA_CONTEXT

VENVS = ROOT / ".venv-rivals"
PLAIN, TRICKS = "as it comes", "own tricks"
STEPS = 20  # the first half of them warms up


@dataclass(frozen=True)
class Rival:
    """A trainer: its name for people, what pip installs, and the settings of each way of training with it."""

    title: str
    requirements: tuple[str, ...]
    variants: Mapping[str, Mapping[str, object]]
    home: str  # its documentation


# What the documentation advises, and what a card of 80 GB makes room for: where all activations fit, computing them again
# in the backward pass costs time for nothing.
RIVALS = {
    "unsloth": Rival(
        "unsloth",
        ("unsloth==2026.10.9", "unsloth_zoo==2026.10.9", "transformers==5.17.0", "trl==1.15.0"),
        {
            # https://unsloth.ai/docs/blog/3x-faster-training-packing: its kernels are on without a setting; "unsloth" is the
            # gradient checkpointing of its notebooks, which offloads to the host.
            PLAIN: {"checkpointing": "unsloth"},
            TRICKS: {"checkpointing": False},
        },
        "https://unsloth.ai/docs",
    ),
    "trl": Rival(
        "TRL with PEFT",
        ("trl==1.16.0", "peft==0.21.2", "transformers==5.17.0", "liger-kernel==0.8.5"),
        {
            # SFTConfig's own defaults: bfloat16, gradient checkpointing.
            PLAIN: {"checkpointing": True, "liger": False},
            # https://huggingface.co/docs/trl/liger_kernel_integration: with Liger "you can potentially turn off […] gradient
            # checkpointing to further boost the performance".
            TRICKS: {"checkpointing": False, "liger": True},
        },
        "https://huggingface.co/docs/trl/speeding_up_training",
    ),
    "axolotl": Rival(
        "axolotl",
        # 0.19 is the last for torch 2.11 and 2.12; 0.20 and later want 2.13.
        ("axolotl==0.19.0",),
        {
            # examples/llama-3/lora-1b.yml, the kernels that it would choose by itself switched off.
            PLAIN: {"checkpointing": True, "kernels": False, "liger": False},
            # https://docs.axolotl.ai/docs/lora_optims.html and custom_integrations.html#liger-kernels
            TRICKS: {"checkpointing": False, "kernels": True, "liger": True},
        },
        "https://docs.axolotl.ai/docs/optimizations.html",
    ),
    "nemo": Rival(
        "NeMo AutoModel",
        ("nemo-automodel==0.7.0", "liger-kernel==0.8.5"),
        {
            # The recipe behind NVIDIA's published figures, examples/llm_benchmark/llama3_1/llama3_1_8b_peft_benchmark.yaml,
            # computes nothing again and has LoRA in Triton kernels.
            PLAIN: {"kernels": False},
            TRICKS: {"kernels": True},
        },
        "https://docs.nvidia.com/nemo/automodel/performance/performance-summary",
    ),
}


def write_packs(base: Path, rows: Path, target: Path, length: int) -> int:
    """Write the chats in `rows` to `target`, one behind the other and cut into packs of `length` tokens; how many packs.

    A line is {"input_ids", "labels"}, a label the token itself in an answer and else -100. What is left at the end is no
    full pack and is left out. Raises UserError where that is all.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    pairs, count = list_tokens(tokenizer, rows), 0
    with open(target, "w", encoding="utf-8") as file:
        while len(pack := list(itertools.islice(pairs, length))) == length:
            ids, labels = zip(*pack, strict=True)
            file.write(json.dumps({"input_ids": ids, "labels": labels}) + "\n")
            count += 1
    if not count:
        what = tr(f"not enough for a pack of {length} tokens", f"不足一个 {length} 个 token 的样本")
        raise UserError(rows, what, tr("name a longer file", "请换更长的文件"))
    return count


def interpreter_of(name: str) -> Path | None:
    """The Python of the rival's venv; None where it is not installed."""
    python = VENVS / name / "bin" / "python"
    return python if python.exists() else None


def how_to_install(name: str) -> str:
    """The commands to type in the repository's folder."""
    folder = (VENVS / name).relative_to(ROOT)
    return f"python3 -m venv {folder} && {folder}/bin/pip install {shlex.join(RIVALS[name].requirements)}"


def train_rival(name: str, variant: str, folder: Path, base: Path, packs: Path, length: int) -> dict:
    """The figures of one training on the Llama-layout `base` and the `packs` of `length` tokens. Raises UserError."""
    out = folder / f"{name}-{'tricks' if variant == TRICKS else 'plain'}.json"
    command = [str(interpreter_of(name)), "-m", "lesson.bench.rival_trainers", name, variant]
    command += ["--model", str(base), "--packs", str(packs), "--steps", str(STEPS), "--out", str(out)]
    # Nothing that our own venv or settings put there is the rival's.
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    run_process(command, environment, folder=ROOT).require_success(RIVALS[name].title)
    return figures_of(read_json(out, ""), length)


def figures_of(result: dict, length: int) -> dict:
    """A row of the table from what the process wrote."""
    return {
        "seconds": result["seconds"],
        "tokens_per_second": length / result["seconds"],
        "peak": result["peak_memory"],
        "used": result["peak_reserved"] + int(CUDA_CONTEXT),
        "first_step": None,
        "loss": result["loss"],
        "versions": result["versions"],
    }
