"""torchrun itself (torch.distributed.run), which dies with its parent and says which rank failed."""

from __future__ import annotations

import os
import signal
import sys

from lesson.core.processes import PARENT, die_with_parent
from lesson.runs.divergence import DIVERGED


def main(arguments: list[str]) -> int:
    die_with_parent()
    os.environ[PARENT] = str(os.getpid())  # the ranks die with this process
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    try:
        run.run(run.parse_args(arguments))
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode == DIVERGED:
            return DIVERGED
        how = (
            f"was killed by {signal.Signals(-failure.exitcode).name}"
            if failure.exitcode < 0
            else f"failed with exit status {failure.exitcode}"
        )
        print(f"recipe: rank {rank} (process {failure.pid}) {how}; the other ranks were stopped", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
