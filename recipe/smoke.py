"""make smoke-7b: the whole lesson at 7B on this machine's GPU, with random weights, in a few minutes; all removed after.

Every stage runs as make runs it, on a random base of the real shape (lesson/model/random_base.py), one epoch of the shipped
rows, 22 steps. What it learned means nothing; that it trains, in which memory, and what it leaves, is checked. Each
check's docstring is the line that is printed. `pytest -m gpu` runs the same checks.
"""

import sys

from lesson.bench.smoke import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
