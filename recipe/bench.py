"""make bench: measure the figures of the README's table on this machine, in one run, and print them beside their bars.

Two whole lessons in empty folders (build/bench/a and b, same seed), a third with SPEED=fast, the evaluation of the first
and the third, and the two test commands. Takes about twenty minutes on two cores; nothing of it is timed by a test.
"""

import sys

from lesson.bench.lesson import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
