"""Copy XTuner's stock config and make the lesson's edits; held against golden/.

Reads the installed stock config, profiles/ and the changed data (for its persona); writes
BUILD/config/<BASE_CONFIG>_copy.py. The stock config is copied as `xtuner copy-cfg` does, byte for byte, but without
importing XTuner, which takes ten seconds (a test compares the two). Nothing of the config is run. Values that are not
given are chosen for the rows and the base (lesson/config/values.py); what was given to an earlier call is kept.
"""

from __future__ import annotations

import sys

from lesson.config import make
from lesson.core import cli
from lesson.core.settings import TRAINING, Values
from lesson.model.choice import chosen_base_config
from lesson.training.room import read_sizes_and_room

SETTINGS = (
    *("PROFILE", "SPEED", "BUILD", "MODEL", "BASE_CONFIG", "CONFIG", "SEED", "DETERMINISTIC", "FORCE", "RESET"),
    *(setting.name for setting in TRAINING),
)


def stage(values: Values) -> int:
    name = values.base_config if values.config else chosen_base_config(values)
    print(*make.lines_of(make.make_config(values, name, read_sizes_and_room(values))), sep="\n")
    return 0


def main(arguments: list[str]) -> int:
    return cli.run("config", __doc__, SETTINGS, stage, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
