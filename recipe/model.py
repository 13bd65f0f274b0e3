"""make model: the base model at BUILD/model, checked before anything is trained on it.

At `tiny` it is the base that ships in data/tiny-base, with the modelling files of the installed xtuner. At `7b` it is
a link to MODEL=, after its config.json proved to be InternLM2 of the expected sizes and every shard to be there with
its full length. Nothing of the model is executed here.
"""

from __future__ import annotations

import sys

from lesson.core import cli
from lesson.core.messages import tr
from lesson.core.settings import Values
from lesson.model.link import provide_base

SETTINGS = ("PROFILE", "BUILD", "MODEL", "FORCE", "BASE_CONFIG")


def stage(values: Values) -> int:
    base = provide_base(values)
    for warning in base.warnings:
        print(tr("warning: ", "警告：") + warning, file=sys.stderr)
    print(tr(f"base model: {base.folder} ({base.origin})", f"基座模型：{base.folder}（{base.origin}）"))
    return 0


def main(arguments: list[str]) -> int:
    return cli.run("model", __doc__, SETTINGS, stage, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
