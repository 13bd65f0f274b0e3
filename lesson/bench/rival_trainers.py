"""A training by one of lesson/bench/rivals.py's trainers, with the Python of its own venv.

    .venv-rivals/NAME/bin/python -m lesson.bench.rival_trainers NAME VARIANT --model DIR --packs FILE --steps 20 --out FILE

All get the same: a base in Llama's layout in bfloat16, the same packs of tokens in the same order, one a step, LoRA on all
linear layers but the output layer with the lesson's rank, alpha and dropout, the fused AdamW, and torch's fused attention
(flash-attn is nowhere on the package index as a wheel).

A step lasts from the end of the step before to its own end, the GPU having finished, so that reading data and logging count
as they do for a user; the first half of the steps is warming up.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from lesson.bench.rivals import RIVALS
from lesson.core.files import write_json

LORA = {"r": 64, "lora_alpha": 16, "lora_dropout": 0.1}  # as XTuner's config has it
LAYERS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
RATE = 2e-4
# transformers' TrainingArguments that each trainer built on them is given.
COMMON = {
    "per_device_train_batch_size": 1,
    "gradient_accumulation_steps": 1,
    "learning_rate": RATE,
    "logging_steps": 1,  # the losses; a step ends with a wait for the GPU here anyway
    "save_strategy": "no",
    "report_to": "none",
    "seed": 0,
}
PACKAGES = ("torch", "triton", "transformers", "peft", "trl", "liger_kernel", "accelerate", "xformers")


class Recorder:
    """When training began and when each step ended, in seconds, with the GPU done; and each step's loss."""

    def __init__(self) -> None:
        self.ends: list[float] = []
        self.losses: list[float] = []
        self.trained = 0  # parameters
        self.shapes: set[tuple[int, ...]] = set()  # of the ids that the model saw

    def mark(self) -> None:
        import torch

        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.ends.append(time.perf_counter())

    def see_model(self, model) -> None:
        """Count what is trained, and look at the first step's input."""
        self.trained = sum(p.numel() for p in model.parameters() if p.requires_grad)

        def look(module, arguments, keywords) -> None:
            ids = keywords["input_ids"] if "input_ids" in keywords else arguments[0]
            self.shapes.add(tuple(ids.shape))
            hook.remove()  # only in the first step: a hook costs what is compiled

        hook = model.register_forward_pre_hook(look, with_kwargs=True)

    def as_callback(self):
        """A TrainerCallback that records."""
        from transformers import TrainerCallback

        recorder = self

        class Callback(TrainerCallback):
            def on_train_begin(self, args, state, control, model=None, **rest) -> None:
                recorder.see_model(model)
                recorder.mark()

            def on_step_end(self, args, state, control, **rest) -> None:
                recorder.mark()

            def on_log(self, args, state, control, logs=None, **rest) -> None:
                if "loss" in logs:
                    recorder.losses.append(float(logs["loss"]))

        return Callback()


def on_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def load_packs(path: str) -> list[dict]:
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def train_with_sft_trainer(options, settings: Mapping, scratch: Path, recorder: Recorder, model, **more) -> None:
    """TRL's SFTTrainer on packs that are made already: nothing is tokenised, cut or packed again."""
    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    packs = load_packs(options.packs)
    trainer = SFTTrainer(
        model=model,
        args=SFTConfig(
            **COMMON,
            output_dir=str(scratch),
            max_steps=options.steps,
            bf16=on_gpu(),
            optim="adamw_torch_fused" if on_gpu() else "adamw_torch",
            max_length=len(packs[0]["input_ids"]),
            dataset_kwargs={"skip_prepare_dataset": True},
            **more.pop("arguments"),
        ),
        train_dataset=Dataset.from_list(packs),
        processing_class=AutoTokenizer.from_pretrained(options.model),
        callbacks=[recorder.as_callback()],
        **more,
    )
    trainer.train()


def train_with_trl(options, settings: Mapping, scratch: Path, recorder: Recorder) -> None:
    import torch
    from peft import LoraConfig

    train_with_sft_trainer(
        options,
        settings,
        scratch,
        recorder,
        options.model,
        peft_config=LoraConfig(**LORA, target_modules="all-linear", task_type="CAUSAL_LM"),
        arguments={
            "gradient_checkpointing": settings["checkpointing"],
            "use_liger_kernel": settings["liger"] and on_gpu(),
            "model_init_kwargs": {
                "attn_implementation": "sdpa",
                "dtype": torch.bfloat16 if on_gpu() else torch.float32,
                "device_map": {"": 0} if on_gpu() else "cpu",
            },
        },
    )


def train_with_unsloth(options, settings: Mapping, scratch: Path, recorder: Recorder) -> None:
    os.environ["UNSLOTH_DISABLE_STATISTICS"] = "1"  # it would ask the hub
    os.chdir(scratch)  # it writes a folder of compiled code where it is
    import torch
    from unsloth import FastLanguageModel

    packs = load_packs(options.packs)
    model, _ = FastLanguageModel.from_pretrained(
        options.model,
        max_seq_length=len(packs[0]["input_ids"]),
        dtype=torch.bfloat16 if on_gpu() else torch.float32,
        load_in_4bit=False,
        load_in_16bit=True,
    )
    model = FastLanguageModel.get_peft_model(
        model, **LORA, target_modules=LAYERS, use_gradient_checkpointing=settings["checkpointing"], random_state=0
    )
    train_with_sft_trainer(options, settings, scratch, recorder, model, arguments={})


def train_with_axolotl(options, settings: Mapping, scratch: Path, recorder: Recorder) -> None:
    os.environ["AXOLOTL_DO_NOT_TRACK"] = "1"
    from transformers import trainer

    trainer.DEFAULT_CALLBACKS.append(recorder.as_callback())  # it builds its trainer itself
    from axolotl.cli.config import load_cfg
    from axolotl.cli.train import do_train

    packs = load_packs(options.packs)
    rows = scratch / "packs.jsonl"  # what has all three columns is taken as it is
    with open(rows, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(pack | {"attention_mask": [1] * len(pack["input_ids"])}) + "\n" for pack in packs)
    kernels = bool(settings["kernels"]) and on_gpu()
    config = {
        "base_model": options.model,
        "datasets": [{"path": str(rows), "ds_type": "json", "type": ""}],
        "dataset_prepared_path": str(scratch / "prepared"),
        "dataset_num_proc": 1,
        "output_dir": str(scratch / "out"),
        "adapter": "lora",
        "lora_r": LORA["r"],
        "lora_alpha": LORA["lora_alpha"],
        "lora_dropout": LORA["lora_dropout"],
        "lora_target_modules": LAYERS,
        "lora_mlp_kernel": kernels,
        "lora_qkv_kernel": kernels,
        "lora_o_kernel": kernels,
        "sequence_len": len(packs[0]["input_ids"]),
        "sample_packing": False,  # the packs are full
        "micro_batch_size": 1,
        "gradient_accumulation_steps": 1,
        "max_steps": options.steps,
        "optimizer": "adamw_torch_fused" if on_gpu() else "adamw_torch",
        "lr_scheduler": "cosine",
        "learning_rate": RATE,
        "bf16": on_gpu(),
        "attn_implementation": "sdpa",
        "gradient_checkpointing": settings["checkpointing"],
        "logging_steps": 1,
        "save_strategy": "no",
        "seed": 0,
        "special_tokens": {"pad_token": "</s>"},
    }
    if settings["liger"] and on_gpu():
        config["plugins"] = ["axolotl.integrations.liger.LigerPlugin"]
        config |= {f"liger_{part}": True for part in ("rope", "rms_norm", "glu_activation")}
        config["liger_fused_linear_cross_entropy"] = True
        if kernels:
            config["liger_glu_activation"] = False  # the LoRA kernels compute the whole MLP
    file = scratch / "config.yml"
    write_json(file, config)  # JSON is YAML
    from axolotl.cli.args import TrainerCliArgs

    do_train(load_cfg(str(file)), TrainerCliArgs())


def packs_for_nemo(path: str):
    """The packs as NeMo AutoModel wants them, a batch of one each: a place's label is the next token, as its loss takes it."""
    import torch
    from torch.utils.data import IterableDataset

    class Packs(IterableDataset):
        def __iter__(self):
            for pack in load_packs(path):
                ids = torch.tensor([pack["input_ids"]])
                labels = torch.tensor([[*pack["labels"][1:], -100]])
                yield {"input_ids": ids, "labels": labels, "position_ids": torch.arange(ids.shape[1]).unsqueeze(0)}

    return Packs()


def train_with_nemo(options, settings: Mapping, scratch: Path, recorder: Recorder) -> None:
    import torch
    from nemo_automodel.components.config.loader import ConfigNode, set_enable_user_modules
    from nemo_automodel.recipes.llm.train_ft import TrainFinetuneRecipeForNextTokenPrediction

    set_enable_user_modules(True)  # packs_for_nemo is ours

    class Recipe(TrainFinetuneRecipeForNextTokenPrediction):
        def _run_train_optim_step(self, batches, *arguments, **keywords):
            if not recorder.ends:
                recorder.see_model(self.model_parts[0])
                recorder.mark()
            found = super()._run_train_optim_step(batches, *arguments, **keywords)
            recorder.mark()
            recorder.losses.append(float(found.metrics["loss"]))
            return found

    config = {
        "recipe": "TrainFinetuneRecipeForNextTokenPrediction",
        "seed": 0,
        "step_scheduler": {
            "global_batch_size": 1,
            "local_batch_size": 1,
            "max_steps": options.steps,
            "ckpt_every_steps": 1000,
            "val_every_steps": 1000,
        },
        "dist_env": {"backend": "nccl" if on_gpu() else "gloo", "timeout_minutes": 1},
        "rng": {"_target_": "nemo_automodel.components.training.rng.StatefulRNG", "seed": 0, "ranked": True},
        "model": {
            "_target_": "nemo_automodel.NeMoAutoModelForCausalLM.from_pretrained",
            "pretrained_model_name_or_path": options.model,
            "force_hf": True,
            "torch_dtype": "bfloat16" if on_gpu() else "float32",
            "attn_implementation": "sdpa",
            "use_liger_kernel": settings["kernels"] and on_gpu(),
        },
        "peft": {
            "_target_": "nemo_automodel.components._peft.lora.PeftConfig",
            "target_modules": "*_proj",
            "dim": LORA["r"],
            "alpha": LORA["lora_alpha"],
            "dropout": LORA["lora_dropout"],
            "dropout_position": "pre",  # of the input, as PEFT has it; its own default is of the output
            "use_triton": settings["kernels"] and on_gpu(),
        },
        "distributed": {"strategy": "fsdp2", "dp_size": "none", "tp_size": 1, "cp_size": 1},
        "loss_fn": {"_target_": "nemo_automodel.components.loss.masked_ce.MaskedCrossEntropy"},
        "dataset": {"_target_": "lesson.bench.rival_trainers.packs_for_nemo", "path": options.packs},
        "dataloader": {"_target_": "torch.utils.data.DataLoader", "batch_size": None},
        "checkpoint": {"enabled": False, "checkpoint_dir": str(scratch)},
        "clip_grad_norm": {"max_norm": 1.0},
        "optimizer": {"_target_": "torch.optim.AdamW", "lr": RATE, "weight_decay": 0.0, "fused": True},
    }
    os.environ |= {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1"}
    os.environ.setdefault("MASTER_PORT", "29531")
    try:
        recipe = Recipe(ConfigNode(config))
        recipe.setup()
        recipe.run_train_validation_loop()
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


TRAINERS = {
    "trl": train_with_trl,
    "unsloth": train_with_unsloth,
    "axolotl": train_with_axolotl,
    "nemo": train_with_nemo,
}


def version_of(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def document_of(options, recorder: Recorder) -> dict:
    """What FILE gets. `seconds` is the median step of the second half."""
    import torch

    seconds = [end - start for start, end in zip(recorder.ends[:-1], recorder.ends[1:], strict=True)]
    packages = [requirement.split("==")[0] for requirement in RIVALS[options.trainer].requirements]
    versions = {package: version_of(package) for package in dict.fromkeys([*packages, *PACKAGES])}
    return {
        "trainer": options.trainer,
        "variant": options.variant,
        "versions": {package: version for package, version in versions.items() if version},
        "device": torch.cuda.get_device_name() if on_gpu() else "cpu",
        "shapes": sorted(recorder.shapes),
        "trained": recorder.trained,
        "steps": seconds,
        "seconds": statistics.median(seconds[len(seconds) // 2 :]),
        "peak_memory": torch.cuda.max_memory_allocated() if on_gpu() else None,
        "peak_reserved": torch.cuda.max_memory_reserved() if on_gpu() else None,
        "loss": recorder.losses,
    }


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("trainer", choices=list(TRAINERS))
    parser.add_argument("variant")
    for name, kind in (("model", str), ("packs", str), ("steps", int), ("out", Path)):
        parser.add_argument(f"--{name}", type=kind, required=True)
    options = parser.parse_args(arguments)
    options.model, options.packs, options.out = (
        os.path.abspath(p) for p in (options.model, options.packs, options.out)
    )
    os.environ["HF_HUB_OFFLINE"] = "1"  # a base is named by its folder; nothing else may be asked
    recorder = Recorder()
    with tempfile.TemporaryDirectory(prefix="bench-rivals-", ignore_cleanup_errors=True) as place:
        os.environ.setdefault("HF_DATASETS_CACHE", str(Path(place) / "cache"))  # before datasets is imported
        settings = RIVALS[options.trainer].variants[options.variant]
        TRAINERS[options.trainer](options, settings, Path(place), recorder)
        os.chdir("/")
    write_json(Path(options.out), document_of(options, recorder))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
