"""The figures of a submitted config by which the staff train again: numbers and known names, as this recipe's settings.

Nothing else of the config is used. Each figure goes through the check of the setting whose value it becomes.
"""

from __future__ import annotations

import re

from lesson.config.parsed import Ref
from lesson.config.summary import lookup, summarise_config
from lesson.core.messages import UserError, tr
from lesson.core.settings import SETTINGS
from lesson.core.text import shorten
from lesson.submission.evidence import Evidence
from lesson.submission.registry import Unjudged

# setting → entry of lesson/config/summary.py
FIGURES = {
    **{"MAX_LENGTH": "max_length", "PACK": "pack_to_max_length", "ACCUM": "accumulative_counts", "BATCH": "batch_size"},
    **{"SEQ_PARALLEL": "sequence_parallel_size", "WORKERS": "dataloader_num_workers", "EPOCHS": "max_epochs"},
    **{"OPTIM": "optimizer", "LR": "lr", "BETAS": "betas", "WEIGHT_DECAY": "weight_decay", "MAX_NORM": "max_norm"},
    **{"WARMUP": "warmup_ratio", "SAVE_STEPS": "save_steps", "PROMPT_TEMPLATE": "template", "SEED": "seed"},
    **{"LORA_R": "lora_r", "LORA_ALPHA": "lora_alpha", "LORA_DROPOUT": "lora_dropout", "DTYPE": "torch_dtype"},
}
# What decides the losses beside these, and must come out of the recipe as it stands in the submitted config.
ALSO_EQUAL = ("use_varlen_attn", "optim_wrapper", "load_in_4bit", "compute_dtype", "dataset_map_fn")
DEEPSPEED = re.compile(r"deepspeed_zero[123](?:_offload)?")
LONGEST_FIGURE = 40  # characters


def read_settings(evidence: Evidence) -> dict[str, str]:
    """The settings by which this recipe makes the submission's training. Raises Unjudged for a figure that it has none for."""
    found = {"PROFILE": evidence.profile}
    for name, entry in FIGURES.items():
        value = lookup(evidence.config, entry)[0]
        if value is None:
            if name == "SEED":
                what = tr("the config gives no seed: no training repeats it", "配置没有种子：无法重复这次训练")
                raise Unjudged(what, tr("ask for a run with a seed", "请要求提交设了种子的训练"))
            continue
        found[name] = _as_text(name, value)
    record = evidence.sound_record or {}
    found["BASE_CONFIG"] = _stock_name(str(record.get("config") or evidence.parts["config"]), evidence.profile)
    ours = re.search(
        r"\b(?:recipe|lesson)\.\w+", evidence.config.source or ""
    )  # configs of SPEED=fast import from here
    found["SPEED"] = record.get("speed") or ("fast" if ours else "stock")
    deepspeed = str(record.get("deepspeed"))
    found["DEEPSPEED"] = deepspeed if DEEPSPEED.fullmatch(deepspeed) else "none"
    return found


def _as_text(name: str, value: object) -> str:
    """The value as the setting has it. Raises Unjudged for one that the setting does not take."""
    if isinstance(value, Ref):
        text = value.name.rpartition(".")[2]
    elif isinstance(value, list | tuple):
        text = ",".join(map(str, value))
    else:
        text = str(int(value) if isinstance(value, bool) else value)
    try:
        if len(text) > LONGEST_FIGURE:
            raise ValueError
        SETTINGS[name].parse(text)
    except (ValueError, UserError):
        what = tr(f"this recipe does not train with {name}={shorten(text)}", f"这里不能以 {name}={shorten(text)} 训练")
        raise Unjudged(what, tr("look at it by hand", "请人工查看")) from None
    return text


def _stock_name(file: str, profile: str) -> str:
    """The stock config that a file is a copy of; the lesson's where its name tells none."""
    name = re.sub(r"(_copy)?(\.py)?$", "", file.rpartition("/")[2])
    known = re.fullmatch(r"(internlm|qwen|llama)\w{1,80}_e3\w{0,20}", name)
    return name if known else SETTINGS["BASE_CONFIG"].default


def compared_figures(summary: dict) -> dict[str, object]:
    """What of a config's summary decides the losses."""
    return {entry: summary.get(entry) for entry in (*FIGURES.values(), *ALSO_EQUAL)}


def read_figures(evidence: Evidence) -> dict[str, object]:
    """compared_figures of the submitted config."""
    return compared_figures(summarise_config(evidence.config))
