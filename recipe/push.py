"""make push REPO=owner/name: upload what make export wrote (FORMAT=adapter unless another is named) to Hugging Face's hub.

Only the files that stand in SHA256SUMS go up, with that list and its signature. The repository is private unless
PUBLIC=1. The token comes from HF_TOKEN alone; HF_ENDPOINT names another hub. What is uploaded and where is shown before.
"""

from __future__ import annotations

import sys

from lesson.core import cli
from lesson.core.settings import Values
from lesson.export.make import ADAPTER
from lesson.export.push import lines_of, push_export
from lesson.runs.chosen import lines_of_choice

SETTINGS = ("PROFILE", "BUILD", "RUN", "REPO", "PUBLIC", "FORMAT", "QUANT")


def stage(values: Values) -> int:
    cli.show_note(lines_of_choice(values))
    form = values.of_export("FORMAT", ADAPTER)
    print(*lines_of(push_export(values, form, report=cli.show_line, progress=sys.stderr)), sep="\n")
    return 0


def main(arguments: list[str]) -> int:
    return cli.run("push", __doc__, SETTINGS, stage, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
