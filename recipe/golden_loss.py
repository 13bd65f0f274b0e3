"""make golden-loss: the loss curve of a finished run, in full precision, as a golden that later runs are held against.

Reads the current run (or A=, a run's ID or folder); writes golden/loss/PROFILE[-SPEED]-MACHINE.json
(schemas/loss.schema.json). The comparison is lesson/runs/loss_band.py.
"""

import sys

from lesson.runs.golden_loss import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
