"""A stand-in for InternLM2.5-7B-Chat where its weights cannot be had: the same shape with random weights.

It costs what the real one costs in time and memory, and learns nothing that means anything. Used by `make smoke-7b` and
`make bench-gpu`, which gives the other trainers the same sizes in Llama's layout: they do not know InternLM2. 7.74 billion parameters in bfloat16 are 15.5 GB on disk.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from lesson.core.files import replace_folder, temporary_folder
from lesson.core.messages import UserError, tr
from lesson.model.known_bases import SIZES_7B
from lesson.model.tiny_base import SHIPPED, copy_files, install_base

# internlm/internlm2_5-7b-chat, config.json
SIZES = {**SIZES_7B, "max_position_embeddings": 32768, "rope_theta": 1000000, "torch_dtype": "bfloat16"}
LLAMA = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "attention_bias": False, "mlp_bias": False}
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
NEEDED = 20 << 30  # bytes of disk


def build_random_base(folder: Path) -> Path:
    """Make `folder` such a base, with the tiny base's tokenizer; whole or not at all.

    Raises UserError without a CUDA GPU (16 GB of its memory are needed) or when the disk is too small.
    """
    return build_base(folder, start_internlm2)


def start_internlm2(model: Path) -> dict:
    """Make the folder `model` the tiny base without its weights; the config of a base of SIZES."""
    install_base(model)
    (model / "model.safetensors").unlink()
    return json.loads((model / "config.json").read_text(encoding="utf-8")) | SIZES


def build_random_llama(folder: Path) -> Path:
    """Make `folder` a base of the same sizes and tokenizer in Llama's layout, as build_random_base does."""
    return build_base(folder, start_llama)


def start_llama(model: Path, sizes: Mapping[str, object] = SIZES) -> dict:
    """Put the tiny base's tokenizer into the folder `model`; the config of a Llama of `sizes`."""
    copy_files([SHIPPED / name for name in TOKENIZER], model)
    return {**LLAMA, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2, "rms_norm_eps": 1e-5, **sizes}


def build_base(folder: Path, start: Callable[[Path], dict]) -> Path:
    """Make `folder` a base with random weights: `start` puts into a folder what is beside them, and gives the config."""
    import torch

    if not torch.cuda.is_available():
        raise UserError(
            "PROFILE=7b",
            tr("no CUDA GPU on this machine", "这台机器没有 CUDA 显卡"),
            tr(
                "run it on a machine with one; make all trains PROFILE=tiny here",
                "请在有显卡的机器上运行；这里可用 make all 训练 PROFILE=tiny",
            ),
        )
    # The model's own code is copied into this cache before it runs: not into the user's home.
    os.environ.setdefault("HF_HOME", str(folder.parent.resolve() / "huggingface"))
    from transformers import AutoConfig, AutoModelForCausalLM

    if (folder / "config.json").is_file():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder.parent).free
    if free < NEEDED:
        raise UserError(
            folder,
            tr(f"{free >> 30} GiB free, {NEEDED >> 30} GiB needed", f"剩余 {free >> 30} GiB，需要 {NEEDED >> 30} GiB"),
            tr("set BUILD to another disk", "请把 BUILD 设到别的磁盘"),
        )
    with temporary_folder(folder) as temporary:
        config = start(temporary / "model")
        (temporary / "model" / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
        torch.manual_seed(0)
        torch.set_default_dtype(torch.bfloat16)
        try:
            with torch.device("cuda"):
                model = AutoModelForCausalLM.from_config(
                    AutoConfig.from_pretrained(temporary / "model", trust_remote_code=True), trust_remote_code=True
                )
        finally:
            torch.set_default_dtype(torch.float32)
        model.save_pretrained(temporary / "model", max_shard_size="4GB")
        # save_pretrained writes what the class thinks of the config; the loader needs what the base's own file says.
        (temporary / "model" / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
        replace_folder(temporary / "model", folder)
    return folder
