"""make model: the base model at BUILD/model, checked before anything is trained on it.

At `tiny` it is the base that ships in data/tiny-base, with the modelling files of the installed xtuner. MODEL= names
another: a folder, or a name on a hub, which is downloaded. Its config.json must be of the family that BASE_CONFIG trains
(without BASE_CONFIG the fitting one is chosen), and every shard must be there with its full length. With CONFIG= and no
MODEL, the base that the config names is checked where it lies. Nothing of the model is executed here.
"""

from __future__ import annotations

import sys

from lesson.core import cli
from lesson.core.messages import tr
from lesson.core.settings import Values
from lesson.training.base import provide_base_to_train

SETTINGS = ("PROFILE", "BUILD", "MODEL", "HUB", "REVISION", "FORCE", "BASE_CONFIG", "PROMPT_TEMPLATE", "CONFIG")


def stage(values: Values) -> int:
    base = provide_base_to_train(values, lambda line: print(line, flush=True))
    for warning in base.warnings:
        print(tr("warning: ", "警告：") + warning, file=sys.stderr)
    if profile := values.unspoken_profile:
        print(
            tr(
                f"{profile} for a base of your own, in {values.build}; later commands need it too: export {profile}",
                f"自选基座使用 {profile}，产物在 {values.build}；后续命令也要设置：export {profile}",
            )
        )
    if base.choice:
        print(base.choice)
    print(tr(f"base model: {base.folder} ({base.origin})", f"基座模型：{base.folder}（{base.origin}）"))
    return 0


def main(arguments: list[str]) -> int:
    return cli.run("model", __doc__, SETTINGS, stage, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
