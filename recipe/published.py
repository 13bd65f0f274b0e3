"""Runs that are published: loss curves and fingerprints that nobody may hand in as their own.

    python -m recipe.published SUBMISSION… [--out golden/published]

writes one small file for each submission: curve, names, seed, hashes. The check `own` reads all of golden/loss (the
goldens that runs are held against) and golden/published, and the folder PUBLISHED=, say last year's submissions.
"""

import sys

from lesson.submission.published import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
