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
from lesson.config.kept import keep_values, kept_line
from lesson.config.parsed import Ref
from lesson.config.profiles import (
    EIGHT_BITS,
    FAST,
    computes_fast,
    load_profile,
    names_in_edits,
    patch_config,
    training_parameters,
)
from lesson.config.reading import parse_config
from lesson.config.schedule import measure_file, world_size
from lesson.config.stock import stock_config
from lesson.config.summary import lookup
from lesson.config.values import CHOSEN, BaseSizes, ChosenValues, Setup, choose_values
from lesson.config.values import lines_of as lines_of_values
from lesson.core.files import readable, sha256
from lesson.core.layout import base_model, changed_rows, config_file
from lesson.core.locks import lock_output
from lesson.core.messages import UserError, tr
from lesson.core.records import Record, make_alone
from lesson.core.settings import ROOT, TRAINING, Values
from lesson.data.persona import read_persona

# Where a config has the values that are chosen: entries of lesson/config/summary.py.
PLACES = {
    "MAX_LENGTH": "max_length",
    "ACCUM": "accumulative_counts",
    "EPOCHS": "max_epochs",
    "LR": "lr",
    "WARMUP": "warmup_ratio",
    "SAVE_STEPS": "save_steps",
}
MOST_PACKS = 4  # at once with GPU_MEMORY=: at 7B, more tokens a step than 8192 gain little


@dataclass(frozen=True)
class MadeConfig:
    """What make_config did: `written` to `path`, or left as it was, being up to date or the user's own."""

    path: Path
    base_config: str
    own: bool = False  # CONFIG= names it
    written: bool = False
    changes: list[Change] = field(default_factory=list)  # from the stock config
    drift: list[str] = field(default_factory=list)  # what the stock config has that golden/ does not know
    kept: dict[str, str] = field(default_factory=dict)  # variables that only an earlier call gave
    chosen: ChosenValues | None = None  # None where the rows do not tell


def lesson_values(values: Values) -> dict[str, object]:
    """What the recipe itself gives to the edits: paths (as written in the config), persona and seed."""
    data = changed_rows(values.build)
    make = f"make data {values.unspoken_profile}".strip()
    readable(data, tr(f"run {make}", f"请先运行 {make}"))
    return {
        "MODEL_DIR": base_model(values.build).as_posix(),
        "DATA_FILE": data.as_posix(),
        "PERSONA": read_persona(data),
        "SEED": values.seed,
        "DETERMINISTIC": values.deterministic,
    }


def make_config(values: Values, name: str, base: BaseSizes) -> MadeConfig:
    """Write the patched stock config `name` and its record, where they are not up to date; `base` is what it will train.

    What is not given, now or to an earlier call, is chosen for the rows and the base. Raises UserError without data,
    for an unknown BASE_CONFIG, when the rows leave nothing to train on, and when the user edited what is there.
    """
    if values.config:
        refuse_ignored(values)
        return MadeConfig(Path(values.config), values.base_config, own=True)
    output = config_file(values.build, name)
    with lock_output(changed_rows(values.build), shared=True), make_alone(output):
        return _make_config(values, name, base, output)


def _make_config(values: Values, name: str, base: BaseSizes, output: Path) -> MadeConfig:
    kept = keep_values(values, output)
    values = kept.values
    profile = load_profile(values.profile_file)
    if values.speed == "fast" and values.profile == "7b" and not computes_fast(name):
        known = ", ".join(FAST)
        raise UserError(
            f"SPEED=fast BASE_CONFIG={name}",
            tr(f"lesson/training/fast.py computes {known} only", f"lesson/training/fast.py 只支持 {known}"),
            tr("use SPEED=stock", "请用 SPEED=stock"),
        )
    _refuse_unused(values, profile)
    stock, fixed = stock_config(name), lesson_values(values)
    source, given = stock.read_text(encoding="utf-8"), training_parameters(values)
    chosen = choose_for_config(values, patch_config(name, source, profile, given | fixed), base)
    if chosen:
        given |= {key: value for key, value in chosen.values.items() if key in given or chosen.usual[key] != value}
    result = patch_config(name, source, profile, given | fixed)
    record = Record(
        output,
        {
            "stock": sha256(stock),
            "data": sha256(changed_rows(values.build)),
            **{p.relative_to(ROOT).as_posix(): sha256(p) for p in profile["files"]},
        },
        {
            "BASE_CONFIG": name,
            "PROFILE": values.profile_file,
            "SEED": values.seed,
            **_as_stored(given),
            "GIVEN": kept.given,
        },
    )
    about = {
        "drift": list_stock_changes(name, source, values.profile_file),
        "kept": kept.before,
        "chosen": chosen,
    }
    if record.up_to_date() and output.read_text(encoding="utf-8") == result:
        return MadeConfig(output, name, **about)
    _refuse_edited(record, values.force)
    changed = list_changes(source, result)
    record.facts = {"stock_ast": ast_hash(source), "changes": [change.headline() for change in changed]}
    with record.write_file() as file:
        file.write(result)
    return MadeConfig(output, name, written=True, changes=changed, **about)


def refuse_ignored(values: Values) -> None:
    """Raise UserError for a value that is given beside CONFIG, whose own value would hold."""
    given = [f"{setting.name}={values.text(setting.name)}" for setting in TRAINING if values.given(setting.name)]
    given += ["RESET=1"] if values.reset else []
    if given:
        raise UserError(
            " ".join(given),
            tr(f"CONFIG={values.config} decides that", f"这由 CONFIG={values.config} 决定"),
            tr("write it into that file, or leave CONFIG= out", "请写进该文件，或去掉 CONFIG="),
        )


def choose_for_config(values: Values, text: str, base: BaseSizes) -> ChosenValues | None:
    """The values for the config `text`, which says what the profile and the stock config say of all that is not given.

    None where a number in it is not known, or no row is a conversation. Raises UserError as choose_values does.
    """
    config = parse_config(text.encode(), "config.py")
    usual = {name: lookup(config, PLACES[name])[0] for name in CHOSEN}
    batch, parallel = lookup(config, "batch_size")[0], lookup(config, "sequence_parallel_size")[0] or 1
    if not all(isinstance(n, int | float) and n > 0 for n in (*usual.values(), batch, parallel)):
        return None
    template = lookup(config, "template")[0]
    form = template.name.rpartition(".")[2] if isinstance(template, Ref) else str(template)
    data = measure_file(changed_rows(values.build), form, base.tokenizer, values.old_name)
    if not data.lengths:
        return None
    given = {s.name: s.parse(values.text(s.name)) for s in TRAINING if s.name in CHOSEN and values.given(s.name)}
    packed = lookup(config, "pack_to_max_length")[0] is not False
    several = MOST_PACKS if values.gpu_memory and values.speed == "fast" and not values.given("BATCH") else 1
    setup = Setup(batch, packed, world_size(values), parallel, several)
    return choose_values(data, base, usual | {"BATCH": batch}, given, setup)


def _refuse_unused(values: Values, profile: dict) -> None:
    """Raise UserError for a given value that no edit of the profile takes, and for two that say how the base is kept."""
    taken = names_in_edits(profile)
    unused = [setting.name for setting in TRAINING if values.given(setting.name) and setting.name not in taken]
    if unused:
        raise UserError(
            " ".join(f"{name}={values.text(name)}" for name in unused),
            tr(
                f"PROFILE={values.profile} SPEED={values.speed} has no use for it",
                f"PROFILE={values.profile} SPEED={values.speed} 用不到它",
            ),
            tr("SPEED=fast at PROFILE=7b has; or leave it out", "PROFILE=7b SPEED=fast 才用到；或去掉它"),
        )
    if values.quant == "nf4" and values.base_dtype in EIGHT_BITS:
        raise UserError(
            f"QUANT=nf4 BASE_DTYPE={values.base_dtype}",
            tr("the base is kept in 4 bits or in 8", "基座要么用 4 位，要么用 8 位"),
            tr("leave one of the two out", "请去掉其中一个"),
        )


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
    lines += kept_line(made.kept)
    if made.chosen:
        lines += lines_of_values(made.chosen)
    if not made.written:
        return [*lines, tr(f"up to date: {made.path}", f"已是最新：{made.path}")]
    count = len(made.changes)
    return [
        *lines,
        tr(f"{made.base_config}: {count} changes", f"{made.base_config}：{count} 处修改"),
        *("  " + change.headline() for change in made.changes),
        tr(f"written: {made.path}", f"已写入：{made.path}"),
    ]
