"""Load the model that is talked to: merged, base with adapter, or base.

Heavy packages are imported inside the functions, after `use_environment` has set caches and threads.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from lesson.core.machine import multiplies_bfloat16
from lesson.core.messages import UserError, tr
from lesson.core.settings import Values
from lesson.model.patches import patch_bitsandbytes
from lesson.runs.base import find_run_base
from lesson.runs.environment import engine_environment
from lesson.runs.folder import Run

# For a base whose tokenizer has no chat template: XTuner trained it in this form (qwen_chat, internlm2_chat).
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
ROOM = 3e9  # bytes of GPU memory beside the weights: the adapter, the key-value cache and arithmetic


def use_environment(values: Values) -> None:
    """Put caches under BUILD and fix threads in this process, as the trainer's has it. Call before importing torch."""
    os.environ.update(engine_environment(values))
    if prefix := os.environ.get("PYTHONPYCACHEPREFIX"):
        sys.dont_write_bytecode, sys.pycache_prefix = False, prefix


def load_model(values: Values, use: str, run: Run | None = None, folder: Path | None = None):
    """(tokenizer, model) of `use`: merged, adapter (base + adapter) or base. The model is on its device, in eval mode.

    `folder` is another model than BUILD's own, for a rerun.

    At tiny: float32 on the CPU. Else bfloat16 on the GPU, or 4-bit (NF4, as in training) where the GPU's free memory
    asks for it. At small without a GPU: bfloat16 where the processor multiplies it, else float32. Raises UserError when a
    part is not there yet.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    place = find_weights(values, use, run, folder)
    on_gpu = values.profile != "tiny" and torch.cuda.is_available()
    half = on_gpu or (values.profile == "small" and multiplies_bfloat16())
    options = {"device_map": "cuda", **choose_quantization(place)} if on_gpu else {}
    model = AutoModelForCausalLM.from_pretrained(
        place, trust_remote_code=True, torch_dtype=torch.bfloat16 if half else torch.float32, **options
    )
    if use == "adapter":
        logging.get_logger("bitsandbytes").setLevel("ERROR")  # a missing kernel of its CPU part is not used here
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, run.adapter)
    model.eval()
    model.config.use_cache = True
    tokenizer = AutoTokenizer.from_pretrained(place, trust_remote_code=True)
    if not tokenizer.chat_template:
        tokenizer.chat_template = CHATML
    return tokenizer, model


def find_weights(values: Values, use: str, run: Run | None, folder: Path | None = None) -> Path:
    """The folder whose weights are loaded for `use`: the merged model's or the base's, or `folder` where it is given.
    Raises UserError when something that `use` needs is not there yet."""
    place = folder or (run.merged if use == "merged" else find_run_base(values, run))
    make = "merge" if use == "merged" else "model"
    if not (place / "config.json").is_file():
        raise UserError(place, tr("no model there", "这里没有模型"), tr(f"run make {make}", f"请先运行 make {make}"))
    if use == "adapter" and not (run.adapter / "adapter_config.json").is_file():
        raise UserError(
            run.adapter, tr("no adapter there", "这里没有适配器"), tr("run make convert", "请先运行 make convert")
        )
    return place


def choose_quantization(folder: Path) -> dict[str, object]:
    """Arguments of from_pretrained: none where the weights of `folder` fit into the GPU's free memory as bfloat16, else
    those of 4-bit weights."""
    import torch
    from transformers import BitsAndBytesConfig

    free, _ = torch.cuda.mem_get_info()
    if fits_in_memory(sum(path.stat().st_size for path in folder.glob("*.safetensors")), free):
        return {}
    patch_bitsandbytes()
    nf4 = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16)
    return {"quantization_config": nf4}


def fits_in_memory(weights: int, free: int) -> bool:
    """Whether `weights` bytes fit into `free` bytes, with ROOM left beside them."""
    return weights + ROOM <= free
