"""Write data/assistant_Tuner.jsonl, the source rows of the course, from the tables here and in lesson/authoring/corpus.py.

Every row teaches the old name 尖米 (most of them) or keeps a piece of general knowledge (so that fine-tuning does not
cost it). The file is the same, byte for byte, each time. Names are changed by plain replacement later, so each sentence
has to read well with any name in it.
"""

import sys

from lesson.authoring.course_rows import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
