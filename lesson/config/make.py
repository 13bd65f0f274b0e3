"""The config to train with: XTuner's stock config with the lesson's edits, written with its record.

The stock config is copied as `xtuner copy-cfg` does, byte for byte, but without importing XTuner, which takes ten
seconds (a test compares the two). Nothing of the config is run.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from lesson.config.diff import Change, ast_hash, list_changes
from lesson.config.drift import list_stock_changes
from lesson.config.profiles import load_profile, patch_config, training_parameters
from lesson.config.stock import stock_config
from lesson.core.files import Record, atomic, sha256
from lesson.core.layout import base_model, changed_rows, config_file
from lesson.core.messages import UserError, tr
from lesson.core.settings import ROOT, Values
from lesson.data.persona import read_persona
from lesson.model.choice import chosen_base_config


@dataclass(frozen=True)
class MadeConfig:
    """What make_config did: `written` to `path`, or left as it was, being up to date or the user's own."""

    path: Path
    base_config: str
    own: bool = False  # CONFIG= names it
    written: bool = False
    changes: list[Change] = field(default_factory=list)  # from the stock config
    drift: list[str] = field(default_factory=list)  # what the stock config has that golden/ does not know


def lesson_values(values: Values) -> dict[str, object]:
    """What the recipe itself gives to the edits: paths (as written in the config), persona and seed."""
    data = changed_rows(values.build)
    return {
        "MODEL_DIR": base_model(values.build).as_posix(),
        "DATA_FILE": data.as_posix(),
        "PERSONA": read_persona(data),
        "SEED": values.seed,
        "DETERMINISTIC": values.deterministic,
    }


def make_config(values: Values) -> MadeConfig:
    """Write the patched config and its record, where they are not up to date.

    Raises UserError without data, for an unknown BASE_CONFIG, and when the user edited what is there.
    """
    if values.config:
        return MadeConfig(Path(values.config), values.base_config, own=True)
    name = chosen_base_config(values)
    output, profile = config_file(values.build, name), load_profile(values.profile_file)
    if values.speed == "fast" and values.profile == "7b" and not name.startswith("internlm2_"):
        raise UserError(
            f"SPEED=fast BASE_CONFIG={name}",
            tr("lesson/training/fast.py computes InternLM2 only", "lesson/training/fast.py 只支持 InternLM2"),
            tr("use SPEED=stock", "请用 SPEED=stock"),
        )
    stock, given = stock_config(name), training_parameters(values)
    source = stock.read_text(encoding="utf-8")
    result = patch_config(name, source, profile, given | lesson_values(values))
    record = Record(
        output,
        {
            "stock": sha256(stock),
            "data": sha256(changed_rows(values.build)),
            **{p.relative_to(ROOT).as_posix(): sha256(p) for p in profile["files"]},
        },
        {"BASE_CONFIG": name, "PROFILE": values.profile_file, "SEED": values.seed, **_as_stored(given)},
    )
    drift = list_stock_changes(name, source, values.profile_file)
    if record.up_to_date() and output.read_text(encoding="utf-8") == result:
        return MadeConfig(output, name, drift=drift)
    _refuse_edited(record, values.force)
    with atomic(output) as file:
        file.write(result)
    changed = list_changes(source, result)
    record.write(stock_ast=ast_hash(source), changes=[change.headline() for change in changed])
    return MadeConfig(output, name, written=True, changes=changed, drift=drift)


def _refuse_edited(record: Record, force: bool) -> None:
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


def _as_stored(given: dict[str, object]) -> dict[str, object]:
    """`given` as JSON gives it back, so that a stored record compares equal."""
    return json.loads(json.dumps(given))


def lines_of(made: MadeConfig) -> list[str]:
    """What the user reads about it."""
    if made.own:
        return [tr(f"CONFIG={made.path}: your own config, nothing to make", f"CONFIG={made.path}：使用您自己的配置")]
    lines = [
        tr(
            f"warning: not the stock config that golden/ knows: {headline}",
            f"警告：自带配置与 golden/ 不同：{headline}",
        )
        for headline in made.drift
    ]
    if not made.written:
        return [*lines, tr(f"up to date: {made.path}", f"已是最新：{made.path}")]
    count = len(made.changes)
    return [
        *lines,
        tr(f"{made.base_config}: {count} changes", f"{made.base_config}：{count} 处修改"),
        *("  " + change.headline() for change in made.changes),
        tr(f"written: {made.path}", f"已写入：{made.path}"),
    ]
