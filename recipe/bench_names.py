"""make bench-names: the whole lesson at tiny for many names, each judged by its own evaluation.

NAMES names (30) drawn by SEED from data/banks/bench_names.json: Chinese of one to five characters, rare characters,
Latin, two words, with digits, dots and hyphens, mixed. Data, train and eval for each, at both speeds or at SPEED. Takes
three to five minutes a name and speed on two cores. Each result is kept below build/bench/names: stop it whenever you
like, and the same command goes on. FORCE=1 measures all anew.
"""

from __future__ import annotations

import os
import sys

from lesson.bench.names import FOLDER, SPEEDS, enough_pass, lines_of, measure_names
from lesson.core import cli
from lesson.core.settings import ROOT, Values

SETTINGS = ("NAMES", "SEED", "SPEED", "FORCE")


def stage(values: Values) -> int:
    speeds = (values.speed,) if values.given("SPEED") else SPEEDS
    results = measure_names(values.names, values.seed, speeds, values.force, cli.show_line)
    print("", *lines_of(results), FOLDER.with_suffix(".json"), sep="\n")
    return 0 if enough_pass(results) else 1


def main(arguments: list[str], stdout=None, stderr=None) -> int:
    """Exit status: 0 at least 29 of 30 pass at each speed, 1 fewer do."""
    os.chdir(ROOT)
    return cli.run("bench_names", __doc__, SETTINGS, stage, arguments, stdout, stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
