"""make docs: write docs/settings.md and docs/commands.md, in both languages, from the settings and the Makefile.

    python -m recipe.docs [--check]

With --check nothing is written: exit status 1 and the names of the pages that differ.
"""

from __future__ import annotations

import sys

from lesson.config.profiles import load_profile
from lesson.core import cli
from lesson.core.files import atomic
from lesson.core.messages import tr
from lesson.core.settings import ROOT
from lesson.install import reference


def write_pages(check: bool) -> int:
    profiles = {name: load_profile(name)["parameters"] for name, _ in reference.SHOWN_PROFILES}
    pages = reference.reference_pages((ROOT / "Makefile").read_text(encoding="utf-8"), profiles)
    outdated = reference.outdated_pages(pages, ROOT)
    for path in outdated:
        if check:
            print(tr(f"differs: {path}", f"不同：{path}"))
            continue
        with atomic(ROOT / path) as file:
            file.write(pages[path])
    if check:
        return 1 if outdated else 0
    print(tr(f"docs: {len(pages)} pages, {len(outdated)} changed", f"docs：{len(pages)} 页，{len(outdated)} 页变化"))
    return 0


def main(arguments: list[str] | None = None) -> int:
    def call() -> int:
        parser = cli.parser("docs", __doc__, [])
        parser.add_argument("--check", action="store_true", help=tr("write nothing", "不写入"))
        flags = parser.parse_args(arguments)
        cli.set_language(flags.LANG)
        return write_pages(flags.check)

    return cli.guarded(call)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
