"""make setup: one venv from requirements.lock, every hash checked. Standard library only: it runs before the venv is.

make setup-check (`python -m recipe.setup check`): another, from requirements-check.lock, for checking alone.
make setup-export (`python -m recipe.setup export`): a small one over the first, from requirements-export.lock.

The first takes two steps, because DeepSpeed is built here: first the build tools, then everything, without build
isolation (which would fetch unpinned tools) and without dependency resolution (the lock is complete, and overrides one
pin of XTuner's).
"""

from __future__ import annotations

import sys

from lesson.core import cli
from lesson.install.setup import PLANS, install_venv, lines_of


def main(arguments: list[str]) -> int:
    named = arguments[:1] in (["check"], ["export"])
    plan, rest = (arguments[0], arguments[1:]) if named else ("all", arguments)

    def stage(values: object) -> int:
        print(*lines_of(install_venv(PLANS[plan], sys.stdout)), sep="\n")
        return 0

    return cli.run("setup", __doc__, [], stage, rest)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
