"""Bases by name: sizes, licence, own names, languages and system prompts of the common ones, so that they are known where their files are not.

The table is known_bases.json (schemas/known_bases.schema.json). Its sizes are those of the published config.json files,
written from memory but for InternLM2.5-7B and Qwen2.5-0.5B, whose config.json was at hand: a verdict that seems wrong is
best repeated with MODEL=, the folder of the base itself.
"""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path

FAMILY = re.compile(r"(internlm2(?:_5)?|internlm3|internlm|qwen1_5|qwen2(?:_5)?|qwen3|qwen|llama_?[23](?:_[123](?=_\d))?|llama|smollm2?|baichuan2?|mistral|gemma)"
                    r"(?:_chat|_instruct|_base|_coder|_math)*_(\d+(?:_\d+)?)([bm])(?![a-z])")  # fmt: skip


@functools.cache
def _table() -> dict:
    return json.loads(Path(__file__).with_name("known_bases.json").read_text(encoding="utf-8"))


# (family, billions) -> what config.json says of the sizes.
BASE_SIZES: dict[tuple[str, str], dict] = {(b["family"], b["size"]): b["config"] for b in _table()["bases"]}
# InternLM2.5-7B-Chat, the lesson's base.
SIZES_7B = {key: size for key, size in BASE_SIZES["internlm2_5", "7"].items() if key != "model_type"}


def family_and_size(name: object) -> tuple[str, str] | None:
    """(family, billions of parameters) in a model's or a stock config's name; None when it tells none.

    Qwen/Qwen1.5-0.5B-Chat and qwen1_5_0_5b_chat_qlora_alpaca_e3 are both ("qwen1_5", "0_5"); SmolLM2-135M is
    ("smollm2", "0_135").
    """
    match = FAMILY.search(re.sub(r"[^a-z0-9]+", "_", str(name)[-300:].lower()))
    if not match:
        return None
    family, size, unit = match.groups()
    size = f"{int(size) / 1000:g}".replace(".", "_") if unit == "m" and size.isdigit() else size
    return family.replace("llama_", "llama"), size


def known_license(name: object) -> str | None:
    """The licence of a published base, as a model card names it; None for a base that is not in the table."""
    known = family_and_size(name)
    return next((b["license"] for b in _table()["bases"] if (b["family"], b["size"]) == known), None)


def own_names(name: object, model_type: object = None) -> tuple[str, ...]:
    """The names by which a base speaks of itself, told by its name, else by its model_type; empty where neither tells.

    A base that is only known to be of Llama's shape may be anybody's: its model_type tells nothing.
    """
    return _tell_of_family("own_names", name, model_type)


def official_prompts(name: object, model_type: object = None) -> tuple[str, ...]:
    """The system prompts that the chat models of a base's family come with, told as in own_names; empty where unknown."""
    return _tell_of_family("default_prompts", name, model_type)


def known_languages(name: object, model_type: object = None) -> tuple[str, ...]:
    """The only ones of zh and en that a base speaks, told as in own_names; empty where the table does not say."""
    return _tell_of_family("languages", name, model_type)


def _tell_of_family(part: str, name: object, model_type: object) -> tuple[str, ...]:
    text = re.sub(r"[^a-z0-9]+", "", str(name).lower())
    for letters, found in _table()[part].items():
        if letters in text:
            return tuple(found)
    told = {"internlm2": "internlm", "internlm3": "internlm", "qwen2": "qwen", "qwen": "qwen"}.get(str(model_type))
    return tuple(_table()[part].get(told, ()))
