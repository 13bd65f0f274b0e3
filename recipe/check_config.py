"""Judge training configs without running them: the lesson's slips, training that cannot work, and trust.

    python -m recipe.check_config FILE_OR_FOLDER… [--format json] [--no-files]

Each finding has a rule, the line, what was found, why it matters and what to do. Exit status 1 when a finding is an
error, 2 when a file cannot be read. Imports neither torch nor xtuner nor libcst.
"""

from __future__ import annotations

import json
import sys

from lesson.config.check import check_config_file, configs_in, document_of, lines_of
from lesson.config.context import config_context
from lesson.core import cli
from lesson.core.layout import config_file
from lesson.core.messages import tr
from lesson.core.settings import Values
from lesson.model.choice import chosen_base_config

SETTINGS = (
    *("PROFILE", "BUILD", "CONFIG", "BASE_CONFIG", "OLD_NAME", "DEEPSPEED", "NPROC_PER_NODE", "NNODES", "FORMAT"),
)


def stage(paths: list[str], values: Values, look: bool) -> int:
    # The default of BASE_CONFIG says nothing about a file from elsewhere; only what the user typed does.
    meant = (values.base_config or None) if values.given("BASE_CONFIG") else None
    paths = paths or [values.config or str(config_file(values.build, chosen_base_config(values)))]
    context = config_context(values, look, meant)
    verdicts = [check_config_file(path, context) for path in configs_in(paths)]
    if values.format == "json":
        print(json.dumps(document_of(verdicts, paths), ensure_ascii=False, indent=2))
    else:
        for verdict in verdicts:
            print(*lines_of(verdict), sep="\n")
    return 0 if all(verdict.ok for verdict in verdicts) else 1


def main(arguments: list[str]) -> int:
    def call() -> int:
        parser = cli.parser("check_config", __doc__, SETTINGS)
        parser.add_argument("files", nargs="*", help=tr("config files or folders", "配置文件或目录"))
        help_text = tr("judge the text alone, look at no other file", "只看文本，不看其他文件")
        parser.add_argument("--no-files", action="store_true", help=help_text)
        flags = vars(parser.parse_args(arguments))
        cli.set_language(flags["LANG"])
        files, no_files = flags.pop("files"), flags.pop("no_files")
        return stage(files, Values(flags), look=not no_files)

    return cli.guarded(call)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
