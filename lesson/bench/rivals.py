"""Tokens per second of two other trainers on the lesson's base, rows, LoRA and batch, to hold `SPEED=fast` against.

    python -m lesson.bench.rivals trl|llamafactory --model DIR --data FILE.jsonl --length 2048 --steps 20 --out result.json

trl            TRL's SFTTrainer with PEFT and bitsandbytes
llamafactory   LLaMA-Factory's `run_exp`, stage sft

Their packages are in requirements-bench.txt, beside the lesson's. Each runs as its documentation says for QLoRA on one
GPU: NF4 with double quantisation, bfloat16 (float32 without a GPU, where only the script is proven), torch's fused
attention, its own packing, its own gradient checkpointing (--no-checkpointing shows what that costs, in memory too),
and the fused AdamW. Both can put in liger-kernel's kernels, but not into InternLM2, which it does not know.

A step is one pack of --length tokens. It lasts from the end of the step before to its own end, the GPU having finished,
so that reading data and logging count as they do for a user; the first half of the steps is warming up. Padding is
computed by the trainer and does not count as tokens.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from lesson.core import cli
from lesson.core.files import write_json
from lesson.core.messages import UserError, set_language, tr
from lesson.data.conversion import convert_from_xtuner
from lesson.data.rows import read_rows
from lesson.model.patches import patch_bitsandbytes
from lesson.training.weights import take_census

LORA = {"r": 64, "alpha": 16, "dropout": 0.1, "modules": ["wqkv", "wo", "w1", "w2", "w3", "output"]}  # as XTuner's
RATE = 2e-4
# TrainingArguments that both trainers are given.
COMMON = {
    "per_device_train_batch_size": 1,
    "gradient_accumulation_steps": 1,
    "learning_rate": RATE,
    "logging_steps": 1,  # the losses; a step ends with a wait for the GPU here anyway
    "save_strategy": "no",
    "report_to": "none",
    "seed": 0,
}
PACKAGES = ["torch", "transformers", "peft", "bitsandbytes", "accelerate", "datasets"]


def write_rows(source: str, target: Path, form: str) -> int:
    """Write the rows of `source` to `target` in another format of lesson/data/formats.py; how many there were.

    An empty system prompt is left out, as XTuner leaves it out.
    """
    count = 0
    with open(target, "w", encoding="utf-8") as file:
        for row in read_rows(source):
            turns = [{k: v for k, v in turn.items() if k != "system" or v} for turn in row["conversation"]]
            file.write(json.dumps(convert_from_xtuner({"conversation": turns}, form), ensure_ascii=False) + "\n")
            count += 1
    return count


def count_real_tokens(ids: Sequence[int], mask: Sequence[int], pad: int) -> int:
    """How many of a row's `ids` are not padding: what the mask hides, and the run of `pad` at the end that it does not.

    LLaMA-Factory fills a pack up with unmasked padding. No row of ours ends with `pad`: turns end with <|im_end|>.
    """
    end = len(ids)
    while end and (not mask[end - 1] or ids[end - 1] == pad):
        end -= 1
    return sum(map(bool, mask[:end]))


def prepare_packages() -> None:
    """What both trainers need before they are imported, so that the versions of our lock work together."""
    if missing := [name for name in TRAINERS if importlib.util.find_spec(name) is None]:
        what = tr("not installed", "没有安装")
        remedy = "pip install --no-deps --target DIR -r requirements-bench.txt; PYTHONPATH=DIR"
        raise UserError(", ".join(missing), what, remedy)

    # Remote code, configs and adapters are looked up by path; without a network nothing else may be asked.
    os.environ["HF_HUB_OFFLINE"] = "1"
    # LLaMA-Factory 0.9.2 refuses what is newer than itself: peft, accelerate, datasets, trl; and transformers 4.48.0
    # for a bug in gradient accumulation, which is 1 here.
    os.environ["DISABLE_VERSION_CHECK"] = "1"
    patch_bitsandbytes()

    # trl imports liger_kernel.transformers where it finds liger-kernel; 0.8.5 wants transformers 5 for that.
    from transformers import utils

    utils.is_liger_kernel_available = lambda: False

    # LLaMA-Factory's PPO, imported with all its stages and not used here, wants a function that trl 0.9 had. Its
    # supervised stage uses no trl, so one trl serves both.
    from trl import core

    core.logprobs_from_logits = None


def make_recorder():
    """A TrainerCallback that measures: see its attributes."""
    import torch
    from transformers import TrainerCallback

    class Recorder(TrainerCallback):
        def __init__(self) -> None:
            self.batches: list[tuple[torch.Tensor, torch.Tensor]] = []  # (input_ids, attention_mask) of each step
            self.ends: list[float] = []  # when training began, and when each step ended
            self.losses: list[float] = []

        def mark(self) -> None:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            self.ends.append(time.perf_counter())

        def on_train_begin(self, args, state, control, model=None, processing_class=None, **rest) -> None:
            self.model, self.pad = model, processing_class.pad_token_id

            def see(module, arguments, keywords) -> None:
                ids = keywords["input_ids"]
                mask = keywords.get("attention_mask")
                self.batches.append((ids, torch.ones_like(ids) if mask is None else mask))  # counted after the training

            model.register_forward_pre_hook(see, with_kwargs=True)
            self.mark()

        def on_step_end(self, args, state, control, **rest) -> None:
            self.mark()

        def on_log(self, args, state, control, logs=None, **rest) -> None:
            if "loss" in logs:
                self.losses.append(logs["loss"])

    return Recorder()


def train_with_trl(options: argparse.Namespace, scratch: Path, callback) -> None:
    import torch
    from datasets import load_dataset
    from peft import LoraConfig
    from transformers import AutoTokenizer, BitsAndBytesConfig
    from trl import SFTConfig, SFTTrainer

    gpu = torch.cuda.is_available()
    dtype = torch.bfloat16 if gpu else torch.float32
    rows = scratch / "rows.jsonl"
    write_rows(options.data, rows, "messages")
    trainer = SFTTrainer(
        model=options.model,
        args=SFTConfig(
            **COMMON,
            output_dir=str(scratch / "out"),
            max_steps=options.steps,
            bf16=gpu,
            optim="adamw_torch_fused" if gpu else "adamw_torch",
            packing=True,
            max_seq_length=options.length,
            gradient_checkpointing=options.checkpointing,
            gradient_checkpointing_kwargs={"use_reentrant": False},
            model_init_kwargs={
                "trust_remote_code": True,
                "attn_implementation": "sdpa",
                "torch_dtype": dtype,
                "device_map": {"": torch.cuda.current_device() if gpu else "cpu"},
                "quantization_config": BitsAndBytesConfig(
                    load_in_4bit=True,
                    bnb_4bit_quant_type="nf4",
                    bnb_4bit_use_double_quant=True,
                    bnb_4bit_compute_dtype=dtype,
                ),
            },
        ),
        train_dataset=load_dataset("json", data_files=str(rows), split="train"),
        processing_class=AutoTokenizer.from_pretrained(options.model, trust_remote_code=True),
        peft_config=LoraConfig(
            r=LORA["r"],
            lora_alpha=LORA["alpha"],
            lora_dropout=LORA["dropout"],
            target_modules=LORA["modules"],
            task_type="CAUSAL_LM",
        ),
        callbacks=[callback],
    )
    # TRL cuts a thousand rows at a time into packs, and what is left of each thousand is a short one.
    full = trainer.train_dataset.filter(lambda pack: len(pack["input_ids"]) == options.length)
    if not len(full):
        what = tr(f"not enough for a pack of {options.length} tokens", f"不足一个 {options.length} 个 token 的打包")
        raise UserError(options.data, what, tr("name a longer file", "请换更长的文件"))
    trainer.train_dataset = full
    # PEFT turns to float32 what is not in 4 bits, and TRL turns embeddings and head back, by names that InternLM2 does
    # not use. It gets what Llama would get.
    for layer in (trainer.model.get_input_embeddings(), trainer.model.get_output_embeddings().base_layer):
        layer.to(dtype)
    trainer.train()


def train_with_llamafactory(options: argparse.Namespace, scratch: Path, callback) -> None:
    import torch
    from llamafactory.train.tuner import run_exp

    gpu = torch.cuda.is_available()
    write_rows(options.data, scratch / "rows.jsonl", "sharegpt")
    columns = {"messages": "conversations"}
    write_json(
        scratch / "dataset_info.json",
        {"rows": {"file_name": "rows.jsonl", "formatting": "sharegpt", "columns": columns}},
    )
    run_exp(
        {
            **COMMON,
            "output_dir": str(scratch / "out"),
            "max_steps": options.steps,
            "bf16": gpu,
            "optim": "adamw_torch_fused" if gpu else "adamw_torch",
            "model_name_or_path": options.model,
            "trust_remote_code": True,
            "flash_attn": "sdpa",
            "quantization_bit": 4,  # its defaults for bitsandbytes: nf4, double quantisation
            "stage": "sft",
            "do_train": True,
            "finetuning_type": "lora",
            "lora_rank": LORA["r"],
            "lora_alpha": LORA["alpha"],
            "lora_dropout": LORA["dropout"],
            "lora_target": ",".join(LORA["modules"]),
            "disable_gradient_checkpointing": not options.checkpointing,
            "dataset_dir": str(scratch),
            "dataset": "rows",
            "template": "intern2",
            "packing": True,
            # It appends one token of padding to a pack, and its collator then fills up to a multiple of eight, masked.
            # One token less makes a pack exactly --length wide, and attention without a mask, which is the fast one.
            "cutoff_len": options.length - 1,
        },
        callbacks=[callback],
    )


TRAINERS = {"trl": train_with_trl, "llamafactory": train_with_llamafactory}


def figures_of(name: str, options: argparse.Namespace, callback) -> dict:
    """The document of a finished training."""
    import torch

    gpu = torch.cuda.is_available()
    seconds = [end - start for start, end in zip(callback.ends[:-1], callback.ends[1:], strict=True)]
    tokens = [
        count_real_tokens(ids[0].tolist(), mask.reshape(-1, mask.shape[-1])[0].tolist(), callback.pad)
        for ids, mask in callback.batches
    ]
    half = len(seconds) // 2
    census = take_census(callback.model)
    attention = next(m for n, m in callback.model.named_modules() if n.endswith(".attention"))
    return {
        "trainer": name,
        "versions": {package: importlib.metadata.version(package) for package in [name, *PACKAGES]},
        "device": torch.cuda.get_device_name() if gpu else "cpu",
        "length": options.length,
        "checkpointing": options.checkpointing,
        "attention": type(attention).__name__,
        "trained": census.trained,
        "layers_in_4_bits": census.layers_in_4_bits,
        "steps": len(seconds),
        "positions_per_step": [ids.numel() for ids, _ in callback.batches],
        "tokens_per_step": tokens,
        "seconds": seconds,
        "tokens_per_second": statistics.median(
            count / second for count, second in zip(tokens[half:], seconds[half:], strict=True)
        ),
        "peak_memory": torch.cuda.max_memory_allocated() if gpu else None,
        "peak_reserved": torch.cuda.max_memory_reserved() if gpu else None,
        "loss": callback.losses,
    }


def train_and_measure(name: str, options: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory(prefix="bench-rivals-") as place:
        os.environ["HF_DATASETS_CACHE"] = str(Path(place) / "cache")  # before datasets is imported
        prepare_packages()
        callback = make_recorder()
        TRAINERS[name](options, Path(place), callback)
        found = figures_of(name, options, callback)
    write_json(options.out, found)
    print(f"{name}: {found['tokens_per_second']:,.0f} tokens/s, {options.out}")
    if len(found["loss"]) != options.steps or not all(map(math.isfinite, found["loss"])):
        print(tr(f"not a finite loss at each step: {found['loss']}", f"并非每步都有有限的 loss：{found['loss']}"))
        return 1
    return 0


def parse_and_run(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m lesson.bench.rivals", description=__doc__.splitlines()[0])
    parser.add_argument("trainer", choices=list(TRAINERS))
    parser.add_argument("--model", required=True, metavar="DIR")
    parser.add_argument("--data", required=True, metavar="FILE")
    parser.add_argument("--length", type=int, default=2048, metavar="TOKENS")
    parser.add_argument("--steps", type=int, default=20, metavar="N")
    parser.add_argument("--checkpointing", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--out", required=True, metavar="FILE")
    parser.add_argument("--lang", default=None)
    options = parser.parse_args(arguments)
    set_language(options.lang)
    if options.steps < 2 or options.length < 16 or options.length % 8:
        what = tr("at least 2 steps, and a multiple of 8 tokens", "至少 2 步，长度为 8 的倍数")
        raise UserError("--steps, --length", what, "--steps 20 --length 2048")
    return train_and_measure(options.trainer, options)


def main(arguments: Sequence[str], stdout=None, stderr=None) -> int:
    """Exit status: 0 measured, 1 a loss was not finite, 2 unusable input."""
    return cli.guarded(lambda: parse_and_run(arguments), stdout, stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
