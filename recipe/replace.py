"""Replace names in the string values of JSON Lines: keys, numbers and order stay, output as json.dumps writes it.

    python -m recipe.replace INPUT OUTPUT --old_text 尖米 --new_text 机智流
    python -m recipe.replace - - --map 尖米=闻星 --map 星海=云图 < in.jsonl > out.jsonl

For every line that the published script accepts, the output is `json.dumps(replaced, ensure_ascii=False)` of the
recursively replaced object. A line has at most 1 MiB; blank lines go.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from lesson.core import cli
from lesson.core.findings import Findings, report_text
from lesson.core.messages import set_language, tr
from lesson.data.replace import Replacer, parse_pair
from lesson.data.replace_files import replace_file
from lesson.data.rules import ROW_RULES

INPUT_HELP = ("JSON Lines, also .gz or .zst; - is standard input", "JSON Lines，可为 .gz 或 .zst；- 为标准输入")


def stage(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m recipe.replace", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("input", help=tr(*INPUT_HELP))
    add("output", help=tr("where to write; - is standard output", "输出文件；- 为标准输出"))
    add("--old_text", default="尖米", help=tr("name to replace (尖米)", "旧名字（尖米）"))
    add("--new_text", default="机智流", help=tr("name to put in its place (机智流)", "新名字（机智流）"))
    more = tr(
        "further pair, at the same time; --old_text then has no default", "另一对，同时替换；此时 --old_text 无默认值"
    )
    add("--map", action="append", default=[], metavar="OLD=NEW", help=more)
    scan = tr("look for what is left of the old names; exit status 1 then", "查找旧名字的残留；有则退出码为 1")
    add("--scan", action="store_true", help=scan)
    add("--jobs", type=int, default=1, metavar="N", help=tr("processes (1)", "进程数（1）"))
    add("--lang", default=None, help=tr("zh or en", "zh 或 en"))
    options = parser.parse_args(arguments)
    set_language(options.lang)
    pairs = [parse_pair(text) for text in options.map]
    if not pairs or any(argument.startswith(("--old_text", "--new_text")) for argument in arguments):
        pairs.insert(0, (options.old_text, options.new_text))
    findings = Findings(ROW_RULES) if options.scan else None
    replace_file(options.input, options.output, Replacer(pairs, counting=False), options.jobs, findings)
    if findings and findings.total:
        report_text(findings, sys.stderr)
    return 1 if findings and findings.total else 0


def main(arguments: Sequence[str], stdout=None, stderr=None) -> int:
    """Exit status: 0 done, 1 --scan found something, 2 input that cannot be used (nothing is written then)."""
    return cli.guarded(lambda: stage(arguments), stdout, stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
