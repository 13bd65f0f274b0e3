"""Statistics of training rows: how many, how long, in which language, how often the name is said and where.

    python -m recipe.stats [FILE] [--name 尖米] [--tokenizer DIR] [--format text|json|html] [--output FILE]

Reads every format that recipe.formats knows. The HTML page is one file with its plots inside and needs no network.
Without FILE, as make stats calls it: SRC and OLD_NAME, the table on the terminal, JSON and HTML into BUILD/data.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from lesson.core import cli
from lesson.core.layout import statistics_file
from lesson.core.messages import set_language, tr
from lesson.core.settings import Values
from lesson.data.formats import FORMATS
from lesson.data.statistics import RowStatistics, collect_statistics
from lesson.data.statistics_pages import render_statistics, write_statistics
from lesson.data.tokens import choose_token_counter, tokenizer_help


def stage(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m recipe.stats", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("file", nargs="?", metavar="FILE")
    add("--name", help=tr("count the texts that say it", "统计提到它的文本"))
    add("--tokenizer", metavar="DIR", help=tokenizer_help())
    add("--from", dest="source", default="auto", choices=["auto", *FORMATS])
    add("--format", default="text", choices=["text", "json", "html"])
    add("--output", metavar="FILE")
    add("--lang")
    options = parser.parse_args(arguments)
    set_language(options.lang)
    values = Values({})
    file, name = options.file or values.src, options.name if options.file else options.name or values.old_name
    stats = RowStatistics(name, choose_token_counter(options.tokenizer))
    collect_statistics(file, options.source, stats)
    pages = {options.output: options.format}
    if not options.file and not options.output:
        pages |= {statistics_file(values.build, form): form for form in ("json", "html")}
    for output, form in pages.items():
        if output is None:
            sys.stdout.write(render_statistics(file, stats, form))
        else:
            write_statistics(file, stats, form, output)
            print(output)
    return 0


def main(arguments: Sequence[str], stdout=None, stderr=None) -> int:
    """Exit status: 0 done, 2 unusable input."""
    return cli.guarded(lambda: stage(arguments), stdout, stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
