"""The settings that the lesson is about, looked up where training reads them."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from lesson.config.parsed import FoldedDict, ParsedConfig, Ref, as_json
from lesson.config.reading import read_config

MOST_DATASETS = 100


def training_dataset(config: ParsedConfig) -> tuple[str, FoldedDict] | None:
    """(path, dict) of the data set that is trained on: the dataloader's, or the first of its ConcatDataset."""
    path = "train_dataloader.dataset"
    found = config.get(path)
    if isinstance(found, FoldedDict) and isinstance(found.get("datasets"), list):
        inner = found["datasets"]
        return (path, inner[0]) if inner and isinstance(inner[0], FoldedDict) else None
    return (path, found) if isinstance(found, FoldedDict) else None


SUMMARY = {
    "model_path": "model.llm.pretrained_model_name_or_path",
    "tokenizer_path": "tokenizer.pretrained_model_name_or_path",
    "template": "train_dataloader.dataset.template_map_fn.template",
    "dataset_type": "train_dataloader.dataset.dataset.type",
    "dataset_path": "train_dataloader.dataset.dataset.path",
    "data_files": "train_dataloader.dataset.dataset.data_files",
    "dataset_map_fn": "train_dataloader.dataset.dataset_map_fn",
    "max_length": "train_dataloader.dataset.max_length",
    "pack_to_max_length": "train_dataloader.dataset.pack_to_max_length",
    "use_varlen_attn": "model.use_varlen_attn",
    "sequence_parallel_size": "sequence_parallel_size",
    "batch_size": "train_dataloader.batch_size",
    "dataloader_num_workers": "train_dataloader.num_workers",
    "accumulative_counts": "optim_wrapper.accumulative_counts",
    "max_epochs": "train_cfg.max_epochs",
    "warmup_ratio": "warmup_ratio",
    "optimizer": "optim_wrapper.optimizer.type",
    "lr": "optim_wrapper.optimizer.lr",
    "betas": "optim_wrapper.optimizer.betas",
    "weight_decay": "optim_wrapper.optimizer.weight_decay",
    "max_norm": "optim_wrapper.clip_grad.max_norm",
    "optim_wrapper": "optim_wrapper.type",
    "loss_scale": "optim_wrapper.loss_scale",
    "amp_dtype": "optim_wrapper.dtype",
    "torch_dtype": "model.llm.torch_dtype",
    "load_in_4bit": "model.llm.quantization_config.load_in_4bit",
    "compute_dtype": "model.llm.quantization_config.bnb_4bit_compute_dtype",
    "lora_r": "model.lora.r",
    "lora_alpha": "model.lora.lora_alpha",
    "lora_dropout": "model.lora.lora_dropout",
    "save_steps": "default_hooks.checkpoint.interval",
    "save_total_limit": "default_hooks.checkpoint.max_keep_ckpts",
    "system": "custom_hooks[EvaluateChatHook].system",
    "evaluation_inputs": "custom_hooks[EvaluateChatHook].evaluation_inputs",
    "seed": "randomness.seed",
}
# Where XTuner puts them when it trains with DeepSpeed: its dump has a strategy, and an optim_wrapper without them.
WITH_DEEPSPEED = {
    "accumulative_counts": "strategy.gradient_accumulation_steps",
    "max_norm": "strategy.gradient_clipping",
}


def lookup(config: ParsedConfig, name: str) -> tuple[object, int]:
    """(value, line) of an entry of SUMMARY, read where training reads it; (None, line) when it is absent."""
    path = SUMMARY[name]
    if "[" in path:
        list_name, kind, key = re.fullmatch(r"(\w+)\[(\w+)\]\.(\w+)", path).groups()
        for item in _dicts(config.values.get(list_name)):
            if isinstance(item.get("type"), Ref) and item["type"].name.endswith(f".{kind}") and key in item:
                return item[key], item.lines.get(key, config.lines.get(list_name, 1))
        return None, config.lines.get(list_name, 1)
    found = training_dataset(config)
    if found and path.startswith(found[0] + "."):
        probe = ParsedConfig("", values={"x": found[1]}, lines={"x": config.line(found[0])})
        inner = "x" + path[len(found[0]) :]
        return probe.get(inner), probe.line(inner)
    if name in WITH_DEEPSPEED and config.get(path) is None and config.get(WITH_DEEPSPEED[name]) is not None:
        path = WITH_DEEPSPEED[name]
    return config.get(path), config.line(path)


def _dicts(value: object) -> list[FoldedDict]:
    return [item for item in value if isinstance(item, FoldedDict)] if isinstance(value, list | tuple) else []


def data_file(config: ParsedConfig) -> str | None:
    """The one local file that is trained on: `data_files` as a text, a list of one or a dict of one. Else None."""
    found = lookup(config, "data_files")[0]
    while isinstance(found, dict | list | tuple) and len(found) == 1:
        found = next(iter(found.values() if isinstance(found, dict) else found))
    return found if isinstance(found, str) else None


def training_datasets(config: ParsedConfig) -> list[FoldedDict]:
    """All data sets that are trained on, those inside of ConcatDataset, of any depth."""
    found, waiting = [], [config.get("train_dataloader.dataset")]
    while waiting:
        item = waiting.pop(0)
        inner = item.get("datasets") if isinstance(item, FoldedDict) else None
        if isinstance(inner, list | tuple):
            waiting += list(inner)[:MOST_DATASETS]
        elif isinstance(item, FoldedDict):
            found.append(item)
    return found[:MOST_DATASETS]


def name_files(load: FoldedDict) -> list[str]:
    """The files that a load_dataset(...) names: data_files in any form, below its folder, else its path if it is a file."""
    found: list[str] = []
    waiting, path = [load.get("data_files")], load.get("path")
    folder = load.get("data_dir") or (path if isinstance(path, str) and path.startswith((".", "/")) else "")
    while waiting and len(found) < MOST_DATASETS:
        item = waiting.pop(0)
        if isinstance(item, str):
            found.append(posixpath.join(folder, item) if isinstance(folder, str) else item)
        elif isinstance(item, dict | list | tuple):
            waiting = list(item.values() if isinstance(item, dict) else item)[:MOST_DATASETS] + waiting
    if not found and isinstance(path, str) and path.endswith((".json", ".jsonl")):
        found.append(path)
    return found


def name_data_sources(config: ParsedConfig) -> list[str]:
    """The local files and folders that are trained on, of all data sets: their files, else their folder."""
    found: list[str] = []
    for dataset in training_datasets(config):
        load = dataset.get("dataset")
        if isinstance(load, FoldedDict):
            folder = load.get("data_dir") or load.get("path")
            found += name_files(load) or ([folder] if isinstance(folder, str) else [])
    return found[:MOST_DATASETS]


def summarise_config(config: ParsedConfig) -> dict[str, object]:
    """The entries of SUMMARY, as JSON, read from where training reads them, and `data_file`."""
    return {name: as_json(lookup(config, name)[0]) for name in SUMMARY} | {"data_file": as_json(data_file(config))}


def config_document(config: ParsedConfig) -> dict[str, object]:
    """The config as JSON, valid against schemas/config.schema.json."""
    return {
        "file": config.file,
        "sha256": config.sha256,
        "ast_sha256": config.ast_sha256(),
        "base": config.base,
        "imports": config.imports,
        "values": {name: as_json(value) for name, value in config.values.items()},
        "lines": config.lines,
        "summary": summarise_config(config),
        "problems": [vars(problem) for problem in config.problems],
    }


def summary_of(path: str | Path) -> dict[str, object]:
    """The summary of the config at `path`, for stages that train with it."""
    return summarise_config(read_config(path))
