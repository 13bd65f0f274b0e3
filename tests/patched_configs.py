"""Stock configs as make config patches them, for the tests of that."""

from __future__ import annotations

from lesson.config.drift import default_values
from lesson.config.profiles import load_profile, patch_config
from lesson.config.stock import is_supported, stock_config, stock_configs

SUPPORTED = [name for name in stock_configs() if is_supported(name)]


def stock(name: str) -> str:
    return stock_config(name).read_text(encoding="utf-8")


def patch(name: str, profile: str = "7b", source: str | None = None, **parameters: object) -> str:
    """The stock config `name` as make config makes it at `profile`, with `parameters` set."""
    values = default_values(profile) | parameters
    return patch_config(name, source or stock(name), load_profile(profile), values)
