"""make submission: pack a finished run to hand it in, after showing its verdict and every file that goes in.

Inputs: the run that BUILD/run points to (config, rows, record, log, adapter, answers). Output: OUT, a zip or a folder,
the same bytes for the same input. The log goes in as an excerpt: XTuner's own log tells the whole machine.
"""

import sys

from lesson.submission.pack import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
