"""make runs: the runs of BUILD with their key figures, newest first; FORMAT=json for programs.

Reads BUILD/runs/*: the record of a finished run, the curve of one that is not, the evaluation where there is one. What
cannot be read shows as unknown, so that one broken run does not hide the others.
"""

import sys

from lesson.runs.listing import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
