"""Objects that a config names by text: mmengine writes every imported object so when it dumps a config into a work_dir.

`template='xtuner.utils.PROMPT_TEMPLATE.internlm2_chat'` of a dump is the `prompt_template` that its source imports.
"""

from __future__ import annotations

import re

from lesson.config.parsed import FoldedDict, ParsedConfig, Ref
from lesson.config.trust import LOOKED_UP, TRUSTED_ATTRIBUTES, TRUSTED_OBJECTS

DOTTED = re.compile(r"[A-Za-z_]\w*(\.\w+)+")


def resolve_names(config: ParsedConfig) -> None:
    """Put a Ref in place of each text that names a known object: where one is looked up, and anywhere in a dump.

    In a dump, which imports nothing, objects stand under keys of any name (torch_dtype, optim_type, sampler). A text that
    names no object of the table of trust stays a text, and is judged as one.
    """
    dumped = not config.imports
    for key, value in config.values.items():
        config.values[key] = _resolve(key, value, dumped)


def _resolve(key: object, value: object, dumped: bool) -> object:
    if isinstance(value, str):
        known = DOTTED.fullmatch(value) and (value in TRUSTED_OBJECTS or TRUSTED_ATTRIBUTES.fullmatch(value))
        wanted = dumped or key in LOOKED_UP or value.startswith("xtuner.utils.SYSTEM_TEMPLATE.")
        return Ref(value) if known and wanted else value
    if isinstance(value, FoldedDict):
        for inner, item in value.items():
            value[inner] = _resolve(inner, item, dumped)
    elif isinstance(value, list):  # in place: several variables may hold the one list
        value[:] = [_resolve(key, item, dumped) for item in value]
    elif isinstance(value, tuple):
        return tuple(_resolve(key, item, dumped) for item in value)
    return value
