"""Rows and configs checked where they change: for the pre-commit hooks and the GitHub Action (hooks/check calls it).

    python -m recipe.ci data|config [--since COMMIT] [--name NAME] [FILE…]

With --since, the files are those that differ from the commit, and FILE… are git's patterns for them (*.jsonl). Findings
go to the screen, on GitHub as annotations at their lines. Exit status: 0 no error (warnings are shown), 1 errors, 2 a
file or a commit that cannot be read. Nothing that is checked is run.
"""

import sys

from lesson.submission.ci import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
