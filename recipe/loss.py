"""Are two loss curves the same? Identical, within the band for other machines, or outside; with a picture of both.

`make compare-loss A=… B=…`: each a run's ID or its beginning, a run folder, a run.json, a golden (golden/loss/*.json)
or a curve.jsonl. Without A it is the current run; without B, the golden of that run's profile, speed and machine.
Exit status 0: identical or within the band, 1: outside.
"""

import sys

from lesson.runs.loss_band import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
