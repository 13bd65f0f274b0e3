"""Copy XTuner's stock config and make the lesson's edits; held against golden/.

Reads the installed stock config, profiles/ and the changed data (for its persona); writes
BUILD/config/<BASE_CONFIG>_copy.py. The stock config is copied as `xtuner copy-cfg` does, byte for byte, but without
importing XTuner, which takes ten seconds (a test compares the two). Nothing of the config is run.
"""

import sys

from lesson.config.make import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
