"""Say before training what it will take: parameters, steps, memory by part, time; and whether it fits the GPU.

Read from the config, the data and the base model's config.json; nothing is loaded or run. The formulas follow
what XTuner 0.2.0 does; lesson/training/memory.py says what they were compared with.
"""

from __future__ import annotations

import json
import sys

from lesson.core import cli
from lesson.core.settings import Values
from lesson.training.estimate import estimate_training, lines_of

SETTINGS = (
    *("PROFILE", "SPEED", "BUILD", "CONFIG", "BASE_CONFIG", "MODEL", "DEEPSPEED"),
    *("NPROC_PER_NODE", "NNODES", "GPU", "TOKENS_PER_SECOND", "FORMAT"),
)


def stage(values: Values) -> int:
    estimate = estimate_training(values)
    if values.format == "json":
        print(json.dumps(estimate, ensure_ascii=False, indent=2))
    else:
        print(*lines_of(estimate), sep="\n")
    return 1 if estimate["device"]["fits"] is False else 0


def main(arguments: list[str]) -> int:
    return cli.run("estimate", __doc__, SETTINGS, stage, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
