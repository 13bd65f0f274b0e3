"""One rank of several: how long averaging the LoRA gradients of 7B takes. Rank 0 writes {"bytes", "seconds"} as JSON.

torchrun … -m lesson.bench.all_reduce OUT
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from lesson.bench.smoke import SHAPE
from lesson.core.files import write_json
from lesson.core.processes import die_with_parent
from lesson.model.shape import lora_parameters

RANK = 64  # LoRA's, the lesson's
WARM, TIMES = 3, 10


def main(out: Path) -> None:
    die_with_parent()
    import torch
    from torch import distributed

    from lesson.training.data_parallel import average_over_ranks

    gpu = torch.cuda.is_available()
    if gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if gpu else "gloo")
    count = lora_parameters(SHAPE, RANK) if gpu else 100_000
    gradients = torch.ones(count, device="cuda" if gpu else "cpu")

    def wait() -> float:
        if gpu:
            torch.cuda.synchronize()
        distributed.barrier()
        return time.perf_counter()

    for turn in range(WARM + TIMES):
        if turn == WARM:
            started = wait()
        average_over_ranks(gradients)
    seconds = (wait() - started) / TIMES
    if distributed.get_rank() == 0:
        write_json(out, {"bytes": 4 * count, "seconds": seconds})
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
