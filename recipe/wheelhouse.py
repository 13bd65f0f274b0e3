"""make wheelhouse: the wheels that a machine without a network lacks, out of requirements.lock, every hash checked.

    make wheelhouse PYTHON=3.12 HAVE=there.txt OUT=wheels CUDA=130

HAVE is what `python3 -m pip list --format=freeze` prints on that machine: what it has in the locked version is left
out, and so is its own torch, with what belongs to it. CUDA keeps, of the libraries in bitsandbytes' wheel, that of one
CUDA version and the CPU's (60 MB to 7). The end line says how to install there.
"""

from __future__ import annotations

import sys

from lesson.core import cli
from lesson.core.settings import Values
from lesson.install.wheelhouse import lines_of, make_wheelhouse

SETTINGS = ("HAVE", "OUT", "CUDA")


def stage(values: Values) -> int:
    print(*lines_of(make_wheelhouse(values, cli.show_line)), sep="\n")
    return 0


def main(arguments: list[str]) -> int:
    return cli.run("wheelhouse", __doc__, SETTINGS, stage, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
