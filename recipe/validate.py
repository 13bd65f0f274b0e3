"""Check training rows before anybody trains on them: each finding with file, line, JSON path, and what to do.

    python -m recipe.validate [FILE…] [--name 尖米] [--format auto] [--report text|jsonl|github|junit] [--limit N]

Without FILE the file is SRC and the name OLD_NAME, as for make data.
Exit status: 0 nothing found, 1 findings (warnings too), 2 input that cannot be used. Neither torch nor xtuner is needed.
The rules are those of lesson/data/rules.json; what concerns one row alone is in lesson/data/row_rules.py.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from lesson.core import cli
from lesson.core.findings import REPORTS
from lesson.core.messages import set_language, tr
from lesson.core.settings import Values
from lesson.data import near_duplicates, tokens, validate
from lesson.data.formats import FORMATS


def stage(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m recipe.validate", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("files", nargs="*", metavar="FILE", help=validate.files_help())
    add("--name", help=tr("what the assistant calls itself", "助手的自称"))
    add("--format", default="auto", choices=["auto", *FORMATS], help=tr("of the rows", "数据行的格式"))
    add("--report", default="text", choices=list(REPORTS))
    add("--limit", type=int, metavar="N", help=tr("findings listed for each rule", "每种问题最多列出几条"))
    add("--no-near", action="store_true", help=tr("do not look for near duplicates", "不查找近似重复"))
    add("--tokenizer", metavar="DIR", help=tokens.tokenizer_help())
    add("--max_length", type=int, default=2048, metavar="TOKENS")
    add("--output", metavar="FILE", help=tr("write the report there", "报告写到此文件"))
    add("--lang")
    options = parser.parse_args(arguments)
    set_language(options.lang)
    findings = validate.make_findings(options.report, options.limit)
    count = tokens.choose_token_counter(options.tokenizer)
    names = [options.name] if options.name else [] if options.files else validate.names_of(Values({}))
    files, say = options.files or [Values({}).src], lambda line: print(line, file=sys.stderr)
    near = not options.no_near and near_duplicates.can_find_near_duplicates(say)
    validate.validate_files(files, findings, say, names, options.format, near, count, options.max_length)
    validate.write_report(findings, options.report, options.limit, options.output, sys.stdout)
    say(validate.summary_line(findings))
    return 1 if findings.total else 0


def main(arguments: Sequence[str], stdout=None, stderr=None) -> int:
    """Exit status: 0 clean, 1 findings, 2 unusable input."""
    return cli.guarded(lambda: stage(arguments), stdout, stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
