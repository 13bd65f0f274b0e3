"""make submission: pack a finished run to hand it in, after showing its verdict and every file that goes in.

Inputs: the run that BUILD/run points to (config, rows, record, log, adapter, answers). Output: OUT, a zip or a folder,
the same bytes for the same input. The log goes in as an excerpt: XTuner's own log tells the whole machine.
"""

from __future__ import annotations

import sys

from lesson.core import cli
from lesson.core.messages import tr
from lesson.core.settings import Values
from lesson.runs.chosen import lines_of_choice
from lesson.submission.pack import pack_submission

SETTINGS = ("NAME", "OUT", "PROFILE", "BUILD", "RUN", "RUBRIC", "SOURCE", "PUBLISHED", "FORCE")


def stage(values: Values) -> int:
    cli.show_note(lines_of_choice(values))
    verdict, out = pack_submission(values, report=print)
    print(tr(f"written: {out}", f"已写出：{out}"))
    if not verdict["passed"]:
        print(tr("packed, but it would not pass: see above", "已打包，但目前不会通过，见上"), file=sys.stderr)
        return 1
    return 0


def main(arguments: list[str] | None = None) -> int:
    return cli.run("submission", __doc__, SETTINGS, stage, sys.argv[1:] if arguments is None else arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
