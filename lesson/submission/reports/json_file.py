"""The verdicts as a JSON file, in ASCII."""

from __future__ import annotations

import json
from collections.abc import Sequence


def render(verdicts: Sequence[dict]) -> str:
    value = verdicts[0] if len(verdicts) == 1 else list(verdicts)
    return json.dumps(value, ensure_ascii=True, indent=2, allow_nan=False) + "\n"
