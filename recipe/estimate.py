"""Say before training what it will take: parameters, steps, memory by part, time; and whether it fits the GPU.

Read from the config's facts, the data and the base model's config.json; nothing is loaded or run. The formulas follow
what XTuner 0.2.0 does and stand at each function; `memory` says what they were compared with.
"""

import sys

from lesson.training.estimate import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
