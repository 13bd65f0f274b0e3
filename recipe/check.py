"""make check: a verdict on each submission, from its files alone, running none of its code.

    python -m recipe.check PATH… [--rubric rubric/default.toml] [--source rows.jsonl] [--report verdict.json,page.html]

A submission is a folder, a zip or a tar: what make submission packs, or a folder as XTuner and a learner leave it.
Exit status: 0 passed, 1 not passed or not judged, 2 when there is nothing to check. Neither torch nor xtuner is needed.
"""

import sys

from lesson.submission.judging import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
