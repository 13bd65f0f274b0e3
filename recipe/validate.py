"""Check training rows before anybody trains on them: each finding with file, line, JSON path, and what to do.

    python -m recipe.validate [FILE…] [--name 尖米] [--format auto] [--report text|jsonl|github|junit] [--limit N]

Without FILE the file is SRC and the name OLD_NAME, as for make data.
Exit status: 0 nothing found, 1 findings (warnings too), 2 input that cannot be used. Neither torch nor xtuner is needed.
The rules are those of recipe.findings.RULES; what concerns one row alone is in recipe.checks.
"""

import sys

from lesson.data.validate import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
