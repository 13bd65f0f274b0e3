"""make setup: one venv from requirements.lock, every hash checked. Standard library only: it runs before the venv is.

make setup-check (`python -m recipe.setup check`): another, from requirements-check.lock, for checking alone.

The first takes two steps, because DeepSpeed is built here: first the build tools, then everything, without build
isolation (which would fetch unpinned tools) and without dependency resolution (the lock is complete, and overrides one
pin of XTuner's).
"""

import sys

from lesson.install.setup import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
