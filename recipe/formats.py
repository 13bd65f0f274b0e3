"""Convert training rows between XTuner's format and others: JSON, CSV, Excel; nothing is lost in silence.

    python -m recipe.formats INPUT OUTPUT [--from auto] [--to xtuner] [--drop KEY]

xtuner    {"conversation": [{"system", "input", "output", "output_with_loss"}, {"input", "output"}]}
alpaca    {"instruction", "input", "output", "system", "history"}; instruction and input become two lines
messages  {"messages": [{"role": "system" | "user" | "assistant", "content", "loss"}]}
sharegpt  {"conversations": [{"from": "system" | "human" | "gpt", "value"}], "system"}
swift     {"query", "response", "system", "history"}, read only
pairs     {"question", "answer"}, also as input/output, prompt/completion, 问题/回答 …, read only

INPUT is JSON Lines, or at most 64 MiB of JSON (an array, or objects one behind the other), CSV or Excel with the columns
question and answer; also packed (gzip, zip, Zstandard), in UTF-16, GB18030 or Big5.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from lesson.core import cli
from lesson.core.findings import Findings, report_text
from lesson.core.messages import set_language, tr
from lesson.data.conversion_files import convert_file, lines_of
from lesson.data.formats import FORMAT_KEYS, FORMATS
from lesson.data.rules import ROW_RULES


def stage(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m recipe.formats", description=__doc__.splitlines()[0])
    parser.add_argument("input")
    parser.add_argument("output")
    parser.add_argument("--from", dest="source", default="auto", choices=["auto", *FORMATS])
    parser.add_argument("--to", dest="target", default="xtuner", choices=list(FORMAT_KEYS))
    parser.add_argument("--drop", action="append", default=[], metavar="KEY", help=tr("let this key go", "舍弃这个键"))
    parser.add_argument("--lang", default=None)
    options = parser.parse_args(arguments)
    set_language(options.lang)
    findings, drop = Findings(ROW_RULES), frozenset(options.drop)
    done = convert_file(options.input, options.output, options.source, options.target, drop, findings)
    if findings.total:
        report_text(findings, sys.stderr)
        print(tr("nothing was written", "没有写出任何内容"), file=sys.stderr)
        return 1
    if options.output != "-":
        print(*lines_of(done, options.output, options.target), sep="\n")
    return 0


def main(arguments: Sequence[str], stdout=None, stderr=None) -> int:
    """Exit status: 0 converted, 1 something cannot be carried over (nothing is written), 2 unusable input."""
    return cli.guarded(lambda: stage(arguments), stdout, stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
