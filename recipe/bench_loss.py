"""make bench-loss: how far loss curves differ between machines, engines and seeds: the measurement behind the band.

Trains the tiny lesson once in each way below, in build/bench-loss, and prints each curve's difference from the first.
A way whose curve is there already is not trained again. Takes about a quarter of an hour on two cores.
"""

import sys

from lesson.bench.loss import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
