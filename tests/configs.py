"""What the tests of configs share: fixtures of good and bad ones, and the rules that a config breaks."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import jsonschema
import pytest

from lesson.config.check import check_config_bytes
from lesson.config.context import ConfigContext
from lesson.config.schedule import DataMeasures
from lesson.config.summary import config_document
from lesson.config.values import Setup
from lesson.core.settings import ROOT

FIXTURES = sorted((ROOT / "tests" / "fixtures" / "configs").glob("*.py"))
SCHEMA = jsonschema.Draft7Validator(json.loads((ROOT / "schemas" / "config.schema.json").read_text(encoding="utf-8")))
LESSON = "internlm2_5_chat_7b_qlora_alpaca_e3"
DONE = (ROOT / "tests" / "fixtures" / "configs" / "lesson_done_right.py").read_text(encoding="utf-8")

# What profiles and stock configs say of the values that are chosen, and bases of three sizes.
TINY = {"MAX_LENGTH": 512, "ACCUM": 1, "EPOCHS": 7, "LR": 2e-3, "WARMUP": 0.05, "SAVE_STEPS": 50}
STOCK = {"MAX_LENGTH": 2048, "ACCUM": 16, "EPOCHS": 3, "LR": 2e-4, "WARMUP": 0.03, "SAVE_STEPS": 50}
BASES = {
    "tiny": (TINY, SimpleNamespace(parameters=2_000_000, positions=2048, tokenizer=None, tokens=None), Setup(batch=4)),
    "small": (STOCK, SimpleNamespace(parameters=135_000_000, positions=8192, tokenizer=None, tokens=None), Setup()),
    "7b": (STOCK, SimpleNamespace(parameters=7_740_000_000, positions=32768, tokenizer=None, tokens=None), Setup()),
}


def supported_stock_configs() -> dict[str, Path]:
    """The supported stock configs where XTuner is installed; check-config itself needs neither it nor libcst."""
    config = pytest.importorskip("lesson.config.stock")
    if find_spec("xtuner") is None:
        pytest.skip("XTuner is not installed")
    return {name: path for name, path in config.stock_configs().items() if config.is_supported(name)}


def broken_rules(source: str | bytes, context: ConfigContext | None = None, name: str = "x.py") -> list[str]:
    """The rules that a config breaks, in the order of its lines; its document is held against the schema."""
    data = source.encode("utf-8", "surrogatepass") if isinstance(source, str) else source
    verdict = check_config_bytes(data, name, context)
    SCHEMA.validate(config_document(verdict.config))
    json.dumps(verdict.document(), ensure_ascii=False).encode()  # can be written, whatever the file holds
    return [f.rule for f in verdict.findings]


def measured(lengths: list[int], prompt: int = 20) -> DataMeasures:
    """Rows of so many tokens, of which `prompt` come before the answer."""
    prompts = tuple(min(prompt, length - 1) for length in lengths)
    return DataMeasures(tuple(lengths), 1, None, 0, 0, True, prompts)
