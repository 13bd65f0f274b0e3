"""make check-all: verdicts on a folder full of submissions, each in a process of its own, and who handed in the same.

    python -m recipe.check_all DIR [--jobs 2] [--report all.csv,all.json,all.html]

One that takes too long, too much memory or crashes the checker is reported as not judged, and the others go on.
Exit status: 0 all passed, 1 some did not, 2 when there is nothing to check.
"""

import sys

from lesson.submission.batch import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
