"""make synth: a fresh self-cognition set for NEW_NAME, made from question banks and answer patterns of our own.

Chinese and English, single and multi-turn, with refusals to be someone else, and with a share of general rows (GENERAL)
so that fine-tuning does not cost what the model knew. The same SEED gives the same bytes. Questions of data/eval/ never
occur. The banks are those of lesson/authoring/course_rows.py and lesson/authoring/corpus.py; what only this set needs stands here.
"""

import sys

from lesson.authoring.synth import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
