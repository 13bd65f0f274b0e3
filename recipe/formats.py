"""Convert training rows between XTuner's format and Alpaca, OpenAI messages and ShareGPT; nothing is lost in silence.

    python -m recipe.formats INPUT OUTPUT [--from auto] [--to xtuner] [--drop KEY]

xtuner    {"conversation": [{"system", "input", "output"}, {"input", "output"}]}
alpaca    {"instruction", "input", "output"}: one turn, no system prompt; instruction and input become two lines
messages  {"messages": [{"role": "system" | "user" | "assistant", "content"}]}
sharegpt  {"conversations": [{"from": "system" | "human" | "gpt", "value"}]}

INPUT is JSON Lines, or one JSON document with an array of rows or a single row (at most 64 MiB).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lesson.core import cli
from lesson.core.findings import Findings, report_text
from lesson.core.messages import set_language, tr
from lesson.data.conversion import convert_file
from lesson.data.formats import FORMAT_KEYS
from lesson.data.rules import ROW_RULES


def stage(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m recipe.formats", description=__doc__.splitlines()[0])
    parser.add_argument("input")
    parser.add_argument("output")
    parser.add_argument("--from", dest="source", default="auto", choices=["auto", *FORMAT_KEYS])
    parser.add_argument("--to", dest="target", default="xtuner", choices=list(FORMAT_KEYS))
    parser.add_argument("--drop", action="append", default=[], metavar="KEY", help=tr("let this key go", "舍弃这个键"))
    parser.add_argument("--lang", default=None)
    options = parser.parse_args(arguments)
    set_language(options.lang)
    findings, drop = Findings(ROW_RULES), frozenset(options.drop)
    written = convert_file(options.input, options.output, options.source, options.target, drop, findings)
    if findings.total:
        report_text(findings, sys.stderr)
        print(tr("nothing was written", "没有写出任何内容"), file=sys.stderr)
        return 1
    if options.output != "-":
        print(tr(f"{written} rows: {Path(options.output)}", f"{written} 行：{Path(options.output)}"))
    return 0


def main(arguments: Sequence[str], stdout=None, stderr=None) -> int:
    """Exit status: 0 converted, 1 something cannot be carried over (nothing is written), 2 unusable input."""
    return cli.guarded(lambda: stage(arguments), stdout, stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
