"""make train: XTuner's trainer in a process of its own; believed only by its exit status and what it left.

Inputs: the config (BUILD/config/…, or CONFIG=), the rows and the base that it names. Output: a run folder (see
lesson/runs/folder.py). The same command resumes a run that was stopped, and is up to date when the run is finished.
"""

import sys

from lesson.training.session import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
