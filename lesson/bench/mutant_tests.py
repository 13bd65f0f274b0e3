"""python -m lesson.bench.mutant_tests COMMANDS.json: the tests of one change of make mutants, until one of them fails.

The tool that starts it puts it into a process group of its own, which nothing else would end: with the tool it ends too,
and so do the tests and all that they started.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from lesson.core.processes import die_with_parent


def _end_group(number: int, frame: object) -> None:
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(128 + number)


def main(arguments: list[str]) -> int:
    signal.signal(signal.SIGTERM, _end_group)
    die_with_parent()
    for command in json.loads(Path(arguments[0]).read_text(encoding="utf-8")):
        if status := subprocess.run(command).returncode:
            return status if status > 0 else 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
