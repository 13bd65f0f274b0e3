"""Write lesson/config/signatures.json: the keywords and types that the installed packages accept in a config.

    python -m recipe.signatures [--check]

With --check nothing is written: exit status 1 and the lines that differ. The packages are imported, torch among them.
"""

from __future__ import annotations

import difflib
import sys

from lesson.config.arguments import SIGNATURES_FILE
from lesson.core import cli
from lesson.core.files import atomic
from lesson.core.messages import tr
from lesson.install.signatures import signatures_text


def stage(check: bool) -> int:
    kept, text = SIGNATURES_FILE.read_text(encoding="utf-8"), signatures_text()
    for line in difflib.unified_diff(kept.splitlines(), text.splitlines(), n=0, lineterm=""):
        print(line)
    if check:
        return 1 if kept != text else 0
    with atomic(SIGNATURES_FILE) as file:
        file.write(text)
    count = text.count('"open"')
    print(tr(f"{count} objects: {SIGNATURES_FILE}", f"{count} 个对象：{SIGNATURES_FILE}"))
    return 0


def main(arguments: list[str]) -> int:
    def call() -> int:
        parser = cli.parser("signatures", __doc__, [])
        parser.add_argument("--check", action="store_true", help=tr("write nothing", "不写入"))
        flags = parser.parse_args(arguments)
        cli.set_language(flags.LANG)
        return stage(flags.check)

    return cli.guarded(call)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
