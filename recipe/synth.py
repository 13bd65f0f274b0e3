"""make synth: a fresh self-cognition set for NEW_NAME, made from question banks and answer patterns of our own.

Chinese and English (ENGLISH), single and multi-turn, with refusals to be someone else, and a share of general rows (GENERAL)
so that fine-tuning does not cost what the model knew. The same SEED gives the same bytes. Questions of data/eval/ never
occur. The banks are the files of data/banks.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from lesson.authoring import synth
from lesson.core import cli
from lesson.core.settings import Values

SETTINGS = ("NEW_NAME", "AUTHOR", "ROWS", "SEED", "GENERAL", "ENGLISH", "PROFILE", "BUILD", "FORCE")


def stage(values: Values) -> int:
    print(*synth.lines_of(synth.write_synthetic_set(values, sys.stderr)), sep="\n")
    return 0


def main(arguments: Sequence[str], stdout=None, stderr=None) -> int:
    """Exit status: 0 written, 2 unusable settings."""
    return cli.run("synth", __doc__, SETTINGS, stage, arguments, stdout, stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
