"""Statistics of training rows: how many, how long, in which language, how often the name is said and where.

    python -m recipe.stats [FILE] [--name 尖米] [--tokenizer DIR] [--format text|json|html] [--output FILE]

Reads every format that recipe.formats knows. The HTML page is one file with its plots inside and needs no network.
Without FILE, as make stats calls it: SRC and OLD_NAME, the table on the terminal, JSON and HTML into BUILD/data.
"""

import sys

from lesson.data.statistics import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
