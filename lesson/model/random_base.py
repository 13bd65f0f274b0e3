"""A stand-in for InternLM2.5-7B-Chat where its weights cannot be had: the same shape with random weights.

It costs what the real one costs in time and memory, and learns nothing that means anything. Used by `make smoke-7b` and
`make bench-gpu`. 7.74 billion parameters in bfloat16 are 15.5 GB on disk.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from lesson.core.files import replace_folder, temporary_folder
from lesson.core.messages import UserError, tr
from lesson.model.known_bases import SIZES_7B
from lesson.model.tiny_base import install_base

# internlm/internlm2_5-7b-chat, config.json
SIZES = {**SIZES_7B, "max_position_embeddings": 32768, "rope_theta": 1000000, "torch_dtype": "bfloat16"}
NEEDED = 20 << 30  # bytes of disk


def build_random_base(folder: Path) -> Path:
    """Make `folder` such a base, with the tiny base's tokenizer; whole or not at all.

    Raises UserError without a CUDA GPU (16 GB of its memory are needed) or when the disk is too small.
    """
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
        install_base(temporary / "model")
        (temporary / "model" / "model.safetensors").unlink()
        config = json.loads((temporary / "model" / "config.json").read_text(encoding="utf-8")) | SIZES
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
