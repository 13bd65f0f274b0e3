"""Write golden/ anew, or say what differs from it: what runs are held against, one function for each kind.

    python -m recipe.golden [KIND…] [--check]

A kind is a function that gives the files it stands for as {path below golden/: text}; `--check` writes nothing and
exits with 1 when a file differs.
"""

from __future__ import annotations

import sys

from lesson.config.golden import KINDS, differences, known_kinds, write_golden
from lesson.core import cli
from lesson.core.messages import tr


def stage(kinds: list[str], check: bool) -> int:
    status = 0
    for kind in known_kinds(kinds):
        found = list(differences(kind))
        print(*found, sep="\n", end="\n" if found else "")
        if check:
            status = 1 if found else status
            continue
        count = write_golden(kind)
        print(tr(f"{kind}: {count} files, {len(found)} changed", f"{kind}：{count} 个文件，{len(found)} 个变化"))
    return status


def main(arguments: list[str]) -> int:
    def call() -> int:
        parser = cli.parser("golden", __doc__, [])
        parser.add_argument("kinds", nargs="*", metavar="KIND", help=", ".join(KINDS))
        parser.add_argument("--check", action="store_true", help=tr("write nothing", "不写入"))
        flags = parser.parse_args(arguments)
        cli.set_language(flags.LANG)
        return stage(flags.kinds, flags.check)

    return cli.guarded(call)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
