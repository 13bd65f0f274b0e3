"""Families of bases: which of XTuner's chat templates a base was trained with, told by its tokenizer, else by its name.

The table is base_families.json (schemas/config_base_families.schema.json).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

_TABLE = json.loads(Path(__file__).with_name("base_families.json").read_text(encoding="utf-8"))
LARGEST_TOKENIZER_CONFIG = 4 * 2**20  # bytes; Llama 3's has 50 KB
# What a folder of a hub's cache says of itself: models--OWNER--NAME/snapshots/COMMIT.
HUB_CACHE = re.compile(r"models--[^/]+?--([^/]+)/snapshots/[^/]+/?$")


@dataclass(frozen=True)
class BaseFamily:
    """Bases of one kind. `templates` are XTuner's that write its marks; none: XTuner has none, take `instead`."""

    name: str
    pattern: str
    templates: tuple[str, ...]
    generation: str | None = None  # of InternLM
    example: str | None = None  # a published model of that generation
    chat: bool = False  # every model of the family is one
    instead: str | None = None


FAMILIES = tuple(BaseFamily(**entry | {"templates": tuple(entry["templates"])}) for entry in _TABLE["families"])


def _plain(name: str) -> str:
    return re.sub("[^a-z0-9]+", "_", name.lower())


def family_of(name: str) -> BaseFamily | None:
    """The family in the name of a folder, a hub id or a config; None where it tells none."""
    plain = _plain(name)
    return next((family for family in FAMILIES if re.search(family.pattern, plain)), None)


def is_chat_model(name: str) -> bool:
    """Whether the name of a base, or of a config, says that the base was trained to chat."""
    family, base = family_of(name), re.split("_(?:qlora|lora|full)(?:_|$)", _plain(name))[0]
    return bool(family and family.chat) or bool(re.search(_TABLE["chat"], base))


def name_of(path: str) -> str:
    """What a path or a hub id calls the base: its last part, or the model's name in a hub's cache."""
    cached = HUB_CACHE.search(path)
    name = cached[1] if cached else path.rstrip("/").rpartition("/")[2]
    return name.replace("___", ".")  # ModelScope's cache: Qwen2___5-0___5B-Instruct


def templates_of_folder(folder: Path) -> tuple[str, ...] | None:
    """XTuner's templates that write the marks of the chat template in a base's folder; () for marks of no template of
    XTuner's, None where the folder tells nothing."""
    text = _chat_template(folder)
    return next((tuple(entry["templates"]) for entry in _TABLE["marks"] if entry["mark"] in text), None)


def _chat_template(folder: Path) -> str:
    """The chat template's text, from where transformers reads it; empty without one."""
    text = ""
    for name in ("tokenizer_config.json", "chat_template.json", "chat_template.jinja"):
        try:
            with open(folder / name, "rb") as file:
                found = file.read(LARGEST_TOKENIZER_CONFIG).decode("utf-8")
            if name.endswith(".json"):
                found = json.dumps(json.loads(found).get("chat_template") or "", ensure_ascii=False)
        except (OSError, ValueError, AttributeError, RecursionError):
            continue
        text += found
    return text
