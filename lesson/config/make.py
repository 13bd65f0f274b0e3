"""Copy XTuner's stock config and make the lesson's edits; held against golden/.

Reads the installed stock config, profiles/ and the changed data (for its persona); writes
BUILD/config/<BASE_CONFIG>_copy.py. The stock config is copied as `xtuner copy-cfg` does, byte for byte, but without
importing XTuner, which takes ten seconds (a test compares the two). Nothing of the config is run.
"""

from __future__ import annotations

import json
import sys

from lesson.config import diff as config_diff
from lesson.config.drift import changes_of_stock
from lesson.config.profiles import load_profile, parameters, patched
from lesson.config.stock import stock_config
from lesson.core import cli
from lesson.core.files import Record, atomic, sha256
from lesson.core.layout import base_model, changed_rows, config_file
from lesson.core.messages import UserError, tr
from lesson.core.settings import ROOT, TRAINING, Values
from lesson.data import rows

SETTINGS_USED = [
    "PROFILE",
    "SPEED",
    "BUILD",
    "BASE_CONFIG",
    "CONFIG",
    "SEED",
    "DETERMINISTIC",
    "FORCE",
    *(s.name for s in TRAINING),
]


# --- stock configs -----------------------------------------------------------------------------------------------------


# --- profiles ----------------------------------------------------------------------------------------------------------


# --- the stage ---------------------------------------------------------------------------------------------------------


def lesson_values(values: Values) -> dict[str, object]:
    """What the recipe itself gives to the edits: paths (as written in the config), persona and seed."""
    return {
        "MODEL_DIR": base_model(values.build).as_posix(),
        "DATA_FILE": changed_rows(values.build).as_posix(),
        "PERSONA": rows.persona(changed_rows(values.build)),
        "SEED": values.seed,
        "DETERMINISTIC": values.deterministic,
    }


def config(values: Values) -> int:
    """The stage: write the patched config and its record, or say that it is up to date."""
    if values.config:
        print(
            tr(f"CONFIG={values.config}: your own config, nothing to make", f"CONFIG={values.config}：使用您自己的配置")
        )
        return 0
    name, output, profile = (
        values.base_config,
        config_file(values.build, values.base_config),
        load_profile(values.profile_file),
    )
    if values.speed == "fast" and values.profile == "7b" and not name.startswith("internlm2_"):
        raise UserError(
            f"SPEED=fast BASE_CONFIG={name}",
            tr("lesson/training/fast.py computes InternLM2 only", "lesson/training/fast.py 只支持 InternLM2"),
            tr("use SPEED=stock", "请用 SPEED=stock"),
        )
    stock, given = stock_config(name), parameters(values)
    source = stock.read_text(encoding="utf-8")
    result = patched(name, source, profile, given | lesson_values(values))
    record = Record(
        output,
        {
            "stock": sha256(stock),
            "data": sha256(changed_rows(values.build)),
            **{p.relative_to(ROOT).as_posix(): sha256(p) for p in profile["files"]},
        },
        {"BASE_CONFIG": name, "PROFILE": values.profile_file, "SEED": values.seed, **_plain(given)},
    )
    differences = config_diff.changes(source, result)
    for headline in _moved(name, source, values.profile_file):
        print(
            tr(
                f"warning: not the stock config that golden/ knows: {headline}",
                f"警告：自带配置与 golden/ 不同：{headline}",
            )
        )
    if record.up_to_date() and output.read_text(encoding="utf-8") == result:
        print(tr(f"up to date: {output}", f"已是最新：{output}"))
        return 0
    _guard(record, values.force)
    with atomic(output) as file:
        file.write(result)
    record.write(stock_ast=config_diff.ast_hash(source), changes=[c.headline() for c in differences])
    print(tr(f"{name}: {len(differences)} changes", f"{name}：{len(differences)} 处修改"))
    for change in differences:
        print("  " + change.headline())
    print(tr(f"written: {output}", f"已写入：{output}"))
    return 0


def _moved(name: str, source: str, profile: str) -> list[str]:

    return changes_of_stock(name, source, profile)


def _guard(record: Record, force: bool) -> None:
    try:
        record.guard(force)
    except UserError as error:
        raise UserError(
            error.where,
            error.what,
            tr(
                f"train with your version (make train CONFIG={error.where}) or overwrite it (FORCE=1)",
                f"用您的版本训练（make train CONFIG={error.where}），或覆盖它（FORCE=1）",
            ),
        ) from None


def _plain(given: dict[str, object]) -> dict[str, object]:
    """`given` as JSON gives it back, so that a stored record compares equal."""
    return json.loads(json.dumps(given))


def main(arguments: list[str] | None = None) -> int:
    return cli.run("config", __doc__, SETTINGS_USED, config, sys.argv[1:] if arguments is None else arguments)
