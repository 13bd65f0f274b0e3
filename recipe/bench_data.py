"""make bench-data: replacement and validation side by side with the published script, rows per second and memory.

    python -m recipe.bench_data [--megabytes 100] [--runs 3] [--large 2000] [--src FILE]

Two files are made from the source rows: `repeated` (the rows over and over) and `distinct` (every question with a number
of its own, so that no memory of rows seen before helps). Every run is a process of its own, bound to one core (two for
`--jobs 2`), start of Python included; runs of all programs take turns and the best of each counts, so that a busy machine
disturbs all alike. Outputs are compared byte by byte with the published script's.
"""

import sys

from lesson.bench.data import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
