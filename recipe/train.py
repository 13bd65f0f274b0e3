"""make train: XTuner's trainer in a process of its own; believed only by its exit status and what it left.

Inputs: the config (BUILD/config/…, or CONFIG=), the rows and the base that it names. Output: a run folder (see
lesson/runs/folder.py). The same command resumes a run that was stopped, and is up to date when the run is finished.
"""

from __future__ import annotations

import sys
from functools import partial

from lesson.core import cli
from lesson.core.settings import Values
from lesson.training.progress import Display
from lesson.training.session import lines_of, train_adapter, warnings_of

SETTINGS = (
    *("PROFILE", "SPEED", "DETERMINISTIC", "TRACE", "BUILD", "CONFIG", "BASE_CONFIG", "DEEPSPEED"),
    *("NEW_NAME", "OLD_NAME", "TRACKER", "TENSORBOARD"),
    *("NPROC_PER_NODE", "NNODES", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT"),
)


def stage(values: Values) -> int:
    warn = partial(print, file=sys.stderr)
    trained = train_adapter(values, Display(partial(print, flush=True), warn, sys.stderr))
    print(*lines_of(trained), sep="\n")
    for line in warnings_of(trained):
        warn(line)
    return 0 if trained.loss_fell else 1


def main(arguments: list[str]) -> int:
    return cli.run("train", __doc__, SETTINGS, stage, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
