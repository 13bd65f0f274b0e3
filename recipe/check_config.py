"""Judge training configs without running them: the lesson's slips, training that cannot work, and trust.

    python -m recipe.check_config FILE_OR_FOLDER… [--format json] [--no-files]

Each finding has a rule, the line, what was found, why it matters and what to do. Exit status 1 when a finding is an
error, 2 when a file cannot be read. Imports neither torch nor xtuner nor libcst.
"""

import sys

from lesson.config.check import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
