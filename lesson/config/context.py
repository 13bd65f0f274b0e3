"""What the rules of check-config know besides the config itself."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.util import find_spec

from lesson.config.schedule import world_size
from lesson.core.settings import Values


@dataclass(frozen=True)
class ConfigContext:
    """What the rules know besides the config itself."""

    files: bool = True  # look at the data and model folder that the config names
    meant: str | None = None  # name of the stock config that is meant, such as the lesson's
    old_name: str = "尖米"
    deepspeed: str | None = None  # "none" when training goes without; None when not known
    offline: bool = False
    folders: tuple[str, ...] = ()  # paths that are known to be local folders, where nothing is looked up
    flash_attn: bool | None = None  # None when not known
    world_size: int = 1  # GPUs


def config_context(values: Values, look: bool, meant: str | None) -> ConfigContext:
    """The context of this call; flash-attn is looked up without importing it."""
    return ConfigContext(
        files=look,
        meant=meant,
        old_name=values.old_name,
        deepspeed=values.deepspeed or None,
        offline=os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0"),
        flash_attn=find_spec("flash_attn") is not None,
        world_size=world_size(values),
    )
