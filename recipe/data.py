"""make data: check the source rows, replace the old name, check the result, look for what is left of the old name.

Reads SRC, writes BUILD/data/assistant_Tuner_change.jsonl. Errors in the rows stop it (exit status 2, all findings
printed, nothing written); warnings do not. One pass over the file, in bounded memory. Near duplicates and token counts
are left to make check-data. GENERAL=0.3 mixes general questions and answers into the rows, three of ten in the whole, so
that training costs less of what the base knew; SEED draws others.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from lesson.authoring.mixed_rows import prepare_mixed_rows
from lesson.core import cli
from lesson.core.settings import Values
from lesson.data.prepare import lines_of

SETTINGS = (
    "SRC",
    "OLD_NAME",
    "NEW_NAME",
    "OLD_AUTHOR",
    "NEW_AUTHOR",
    "MAP",
    "ACCEPT",
    "GENERAL",
    "SEED",
    "PROFILE",
    "BUILD",
    "FORCE",
)


def stage(values: Values) -> int:
    print(*lines_of(prepare_mixed_rows(values, sys.stderr)), sep="\n")
    return 0


def main(arguments: Sequence[str], stdout=None, stderr=None) -> int:
    """Exit status: 0 written or up to date, 2 unusable input or errors in the rows."""
    return cli.run("data", __doc__, SETTINGS, stage, arguments, stdout, stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
