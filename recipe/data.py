"""make data: check the source rows, replace the old name, check the result, look for what is left of the old name.

Reads SRC, writes BUILD/data/assistant_Tuner_change.jsonl. Errors in the rows stop it (exit status 2, all findings
printed, nothing written); warnings do not. One pass over the file, in bounded memory. Near duplicates and token counts
are left to make check-data.
"""

import sys

from lesson.data.prepare import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
