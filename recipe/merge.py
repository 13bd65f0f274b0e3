"""make merge: adapter and base as one model in the run folder; fails when the merged weights equal the base's."""

import sys

from lesson.training.merge import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
