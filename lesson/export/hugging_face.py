"""FORMAT=hf: the merged model as a folder that today's transformers, vLLM and others open without remote code."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from lesson.core.files import read_json, write_json
from lesson.core.messages import UserError, tr
from lesson.evaluation.asking import find_end_tokens
from lesson.export.llama_layout import rewrite_config, rewrite_weights
from lesson.model.weights import find_tensors

# What belongs to a tokenizer, beside tokenizer.json; code (*.py) is never carried over.
TOKENIZER_FILES = ("vocab.json", "merges.txt", "added_tokens.json", "special_tokens_map.json", "chat_template.jinja")
WEIGHTS = ("*.safetensors", "*.safetensors.index.json")
# transformers of today names the class so where only tokenizer.json counts.
FAST_TOKENIZER = "PreTrainedTokenizerFast"


def write_model(
    merged: Path, folder: Path, report: Callable[[int, int], object] = lambda done, total: None, link: bool = False
):
    """Fill the empty `folder` from the merged model; returns that model's tokenizer.

    `report` gets (bytes done, all) while weights are written. `link` puts links where weights stay as they are: for a
    folder that is read here and removed. Raises UserError for a model that needs code of its own.
    """
    config = read_json(merged / "config.json", tr("run make merge", "请先运行 make merge"))
    files = find_weights(merged)
    total = sum(path.stat().st_size for path in files)
    if config.get("model_type") == "internlm2":
        rewrite_weights(find_tensors(merged), config, folder, lambda done: report(min(done, total), total))
        report(total, total)  # the files' own heads are in it
        written = rewrite_config(config)
    else:
        done = 0
        for path in files:
            if link:
                (folder / path.name).symlink_to(path.resolve())
            else:
                shutil.copyfile(path, folder / path.name)
            done += path.stat().st_size
            report(done, total)
        written = config
    if "auto_map" in written:
        raise UserError(
            merged / "config.json",
            tr(
                f"model_type {config.get('model_type')!r} needs code of its own (auto_map)",
                f"model_type {config.get('model_type')!r} 需要自带的代码（auto_map）",
            ),
            tr("make export FORMAT=adapter exports the adapter", "可用 make export FORMAT=adapter 导出适配器"),
        )
    tokenizer = write_tokenizer(merged, folder)
    write_json(folder / "config.json", written)
    write_generation_config(merged, folder, find_end_tokens(tokenizer))
    return tokenizer


def remove_weights(folder: Path) -> None:
    """Remove the weights from a folder that `write_model` filled; tokenizer and configs stay."""
    for path in find_weights(folder):
        path.unlink()


def find_weights(folder: Path) -> list[Path]:
    """The files of a model folder that hold weights, and their index."""
    return sorted(path for pattern in WEIGHTS for path in folder.glob(pattern))


def write_tokenizer(merged: Path, folder: Path):
    """Write the tokenizer with its chat template into `folder`; returns it, loaded from the merged model.

    Where the merged model's tokenizer is code (InternLM2's), its fast form is written, as tokenizer.json.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(merged, trust_remote_code=True)
    path = merged / "tokenizer.json"
    if path.is_file():
        shutil.copyfile(path, folder / path.name)
    elif getattr(tokenizer, "is_fast", False):
        tokenizer.backend_tokenizer.save(str(folder / path.name))
    else:
        raise UserError(
            merged,
            tr("its tokenizer has no fast form (tokenizer.json)", "它的分词器没有快速形式（tokenizer.json）"),
            tr("make export FORMAT=adapter exports the adapter", "可用 make export FORMAT=adapter 导出适配器"),
        )
    for name in (*TOKENIZER_FILES, "tokenizer.model"):
        if (merged / name).is_file():
            shutil.copyfile(merged / name, folder / name)
    own = json.loads((merged / "tokenizer_config.json").read_text(encoding="utf-8"))
    if own.pop("auto_map", None) or not str(own.get("tokenizer_class", "")).endswith("Fast"):
        known = own.get("tokenizer_class") in ("Qwen2Tokenizer", "LlamaTokenizer", "GPT2Tokenizer")
        own["tokenizer_class"] = own["tokenizer_class"] if known else FAST_TOKENIZER
    if tokenizer.chat_template and "chat_template" not in own:
        own["chat_template"] = tokenizer.chat_template
    write_json(folder / "tokenizer_config.json", own)
    return tokenizer


def write_generation_config(merged: Path, folder: Path, ends: list[int]) -> None:
    """Write generation_config.json: the base's, with every token at which an answer ends (`ends`, token ids).

    An engine that knows the tokenizer's own end alone would talk on behind the end of a chat turn.
    """
    path = merged / "generation_config.json"
    config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"_from_model_config": False}
    given = config.get("eos_token_id", [])
    given = given if isinstance(given, list) else [given]
    write_json(folder / path.name, config | {"eos_token_id": sorted({*given, *ends})})
