"""The type of a machine, as far as it decides how sums are rounded: which golden a run may equal in every bit."""

from __future__ import annotations

import platform
import re
from pathlib import Path

# Vector instructions that libraries choose their kernels by, best first. Clouds sell one "Intel Xeon Processor" after
# another under that very name, so name, family, model, stepping and this together are the type.
INSTRUCTIONS = ("amx_tile", "avx512_bf16", "avx512f", "avx2", "asimd")


def processor(cpuinfo: str) -> dict[str, str]:
    """{"name", "version": family-model-stepping, "instructions"} from the text of /proc/cpuinfo; "" where not told."""
    found: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        found.setdefault(key.strip(), value.strip())
    version = [found.get(key, "") for key in ("cpu family", "model", "stepping")]
    flags = set((found.get("flags") or found.get("Features") or "").split())
    return {
        "name": found.get("model name", ""),
        "version": "-".join(version) if all(version) else "",
        "instructions": next((name for name in INSTRUCTIONS if name in flags), ""),
    }


def here(gpu: str | None) -> str:
    """This machine's type: its GPU's when it trains on one, else its processor's."""
    if gpu:
        return slug(gpu)
    path = Path("/proc/cpuinfo")
    told = processor(path.read_text(encoding="utf-8", errors="replace") if path.exists() else "")
    name = told["name"] or platform.processor() or platform.machine()
    return slug(" ".join([name, told["version"], told["instructions"]]))


def slug(text: str) -> str:
    """`text` as a part of a file name: lower case letters, digits and single hyphens; trademarks and clock left out."""
    text = re.sub(r"\((r|tm)\)|@.*?ghz|\bcpu\b", " ", text.lower())
    return re.sub(r"[^a-z0-9]+", "-", text).strip("-") or "unknown"
