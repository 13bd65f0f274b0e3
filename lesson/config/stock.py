"""XTuner's own configs: found where it is installed, without importing it."""

from __future__ import annotations

import difflib
import functools
import importlib.util
from fnmatch import fnmatchcase
from pathlib import Path

from lesson.core.messages import UserError, tr

# The families that the lesson carries over to; every one of them is tried by tests/config/test_profiles.py.
SUPPORTED = (
    *("internlm2*_qlora*_alpaca_*", "internlm3*_qlora*_alpaca_*", "qwen*_qlora*_alpaca_*"),
    "llama3_8b_instruct_qlora_alpaca_e3",
)


@functools.cache
def stock_configs() -> dict[str, Path]:
    """All stock configs of the installed XTuner by name, as its `list-cfg` has them. Raises UserError without XTuner."""
    spec = importlib.util.find_spec("xtuner")
    if spec is None or not spec.submodule_search_locations:
        raise UserError("xtuner", tr("is not installed", "未安装"), tr("run make setup", "请运行 make setup"))
    root = Path(spec.submodule_search_locations[0]) / "configs"
    return {p.stem: p for p in sorted(root.rglob("*.py")) if not p.name.startswith((".", "_"))}


def is_supported(name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in SUPPORTED)


def stock_config(name: str) -> Path:
    """The file of the stock config `name`. Raises UserError with the names that come close."""
    known = stock_configs()
    if name in known:
        return known[name]
    ours = [n for n in known if is_supported(n)]
    close = difflib.get_close_matches(name, ours, 3, 0.5) or difflib.get_close_matches(name, known, 3, 0.3)
    raise UserError(
        f"BASE_CONFIG={name!r}",
        tr("XTuner has no such config", "XTuner 没有这个配置"),
        tr("did you mean ", "您是不是要 ") + ", ".join(close or ours[:3]),
    )
