"""make compare A=… B=…: two runs side by side: what differs in their records, then the key figures, then the curves.

A and B are runs of BUILD, by their ID or its beginning, run folders, or run.json files. Exit status 0 whatever differs.
"""

import sys

from lesson.runs.compare import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
