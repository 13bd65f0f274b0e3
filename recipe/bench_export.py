"""make bench-export: the export of a model of the 7B shape with random weights: seconds, memory beyond the file cache.

FORMAT=hf is measured with InternLM2.5-7B's shape, gguf (QUANT=q8_0 and q4_k_m) where MODEL= names a folder whose tokenizer
llama.cpp knows, at Qwen2.5-7B's widths. Each model is removed after: 55 GB of disk are needed below BUILD. Prints each
beside its bars (180 s, 12 GB) and writes figures.json. `python -m recipe.bench_export --layers 14` takes half of it.
"""

from __future__ import annotations

import argparse
import os
import sys

from lesson.bench.export import measure_exports
from lesson.core import cli
from lesson.core.settings import ROOT, Values

SETTINGS = ("BUILD", "MODEL", "FORMAT", "QUANT")


def stage(values: Values, layers: int | None) -> int:
    costs, file = measure_exports(values, layers, cli.show_line)
    print(file)
    return 0 if all(cost.met for cost in costs) else 1


def main(arguments: list[str]) -> int:
    own = argparse.ArgumentParser(add_help=False)
    own.add_argument("--layers", type=int)  # for those who keep this repository; not a setting of the lesson
    known, rest = own.parse_known_args(arguments)
    os.chdir(ROOT)
    return cli.run("bench_export", __doc__, SETTINGS, lambda values: stage(values, known.layers), rest)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
