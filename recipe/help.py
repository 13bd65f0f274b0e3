"""make: every target with one line of help and the variables that it takes, read from the Makefile and the settings.

Standard library only: a newcomer types `make` before anything is installed.
"""

import sys

from lesson.install.help import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
