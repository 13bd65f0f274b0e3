"""make mutants: single operators and numbers of what judges are changed, one at a time; do the tests notice?

    python -m recipe.mutants [--mutants N] [--modules lesson/config] [--seed S] [--build FOLDER]

N changes are drawn of each module by the seed; 0 tries all, which takes hours. The same call goes on where it stopped.
Exit status 1 when less than nine of ten are found. Changes that need not be are in lesson/bench/mutants.json.
"""

from __future__ import annotations

import sys

from lesson.bench.mutants import LEAST_FOUND, copy_tree, judging_modules, lines_of, share_found, try_mutants
from lesson.core import cli
from lesson.core.messages import tr
from lesson.core.settings import ROOT, Values
from lesson.install.setup import PLANS, install_venv

SETTINGS = ("MUTANTS", "MODULES", "SEED", "BUILD")


def stage(values: Values) -> int:
    modules = judging_modules(values.modules.split())
    folder = ((values.build if values.given("BUILD") else ROOT / "build") / "mutants").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    tool = install_venv(PLANS["mutants"], sys.stdout).venv.resolve()
    tree, tried, passed = copy_tree(folder), [], {}
    for module in modules:
        found = try_mutants(module, values.mutants, values.seed, folder, tree, tool, passed)
        print(f"{module}: " + "\n".join(lines_of(found)), flush=True)
        tried += found
    print(tr("all: ", "合计：") + lines_of(tried)[0])
    return 0 if share_found(tried) >= LEAST_FOUND else 1


def main(arguments: list[str]) -> int:
    return cli.run("mutants", __doc__, SETTINGS, stage, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
