"""make preview: the first rows as a person reads them, and as the model sees them.

The second view is XTuner's own: its template, its tokenisation, its labels. Tokens that are trained on are green on a
terminal and between ⟦ ⟧ elsewhere; all others are masked.
"""

import sys

from lesson.evaluation.preview import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
