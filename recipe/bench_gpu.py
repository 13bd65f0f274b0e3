"""make bench-gpu: tokens per second, memory and model FLOP utilisation at 7B on this machine's GPU, side by side.

One random base of the real shape, the shipped rows in packs of 2048 tokens, batch 1. Trained through make's own stages:
stock as the lesson has it (DeepSpeed ZeRO-2), stock without DeepSpeed, fast in 24 GB, fast in 16 GB. With the packages
of requirements-bench.txt on PYTHONPATH also TRL and LLaMA-Factory (lesson/bench/rivals.py) on the same base, rows, LoRA
and batch. Prints a table and writes BUILD/bench-gpu/figures.json.
"""

import sys

from lesson.bench.gpu import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
