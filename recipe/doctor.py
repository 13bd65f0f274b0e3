"""make doctor: is everything here that the chosen profile needs? A table, or JSON with FORMAT=json; exit 1 if not.

Each check is a small function whose docstring is the line that the user sees. It returns what was found, or raises
Missing with what is wrong and the command that mends it.
"""

import sys

from lesson.install.doctor import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
