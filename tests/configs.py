"""What the tests of configs share: fixtures of good and bad ones, and the rules that a config breaks."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import jsonschema
import pytest

from lesson.config.check import check_config_bytes
from lesson.config.context import ConfigContext
from lesson.config.summary import config_document
from lesson.core.settings import ROOT

FIXTURES = sorted((ROOT / "tests" / "fixtures" / "configs").glob("*.py"))
SCHEMA = jsonschema.Draft7Validator(json.loads((ROOT / "schemas" / "config.schema.json").read_text(encoding="utf-8")))
LESSON = "internlm2_5_chat_7b_qlora_alpaca_e3"
DONE = (ROOT / "tests" / "fixtures" / "configs" / "lesson_done_right.py").read_text(encoding="utf-8")


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
