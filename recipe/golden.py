"""Write golden/ anew, or say what differs from it: what runs are held against, one function for each kind.

    python -m recipe.golden [KIND…] [--check]

A kind is a function that gives the files it stands for as {path below golden/: text}; `--check` writes nothing and
exits with 1 when a file differs.
"""

import sys

from lesson.config.golden import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
