"""Which stock config is meant: the one that the user names, else the one that fits the base."""

from __future__ import annotations

from pathlib import Path

from lesson.core.layout import base_model
from lesson.core.messages import UserError, tr
from lesson.core.settings import Values
from lesson.model.base_folder import read_base_folder
from lesson.model.base_record import recorded_base
from lesson.model.families import choose_config, choose_config_by_name
from lesson.model.hub import is_hub_name


def chosen_base_config(values: Values) -> str:
    """The name of the stock config to copy: BASE_CONFIG; else the one that fits MODEL; else the one that make model
    recorded; else the lesson's.

    Raises UserError for a MODEL that is neither here nor known by its published sizes.
    """
    if values.given("BASE_CONFIG"):
        return values.base_config
    recorded = recorded_base(values.build)
    if not values.model or recorded.get("named") == values.model:
        there = base_model(values.build).is_symlink()
        return str(recorded["base_config"]) if there and recorded.get("base_config") else values.base_config
    folder = Path(values.model)
    remedy = tr("run make model with that MODEL first", "请先用该 MODEL 运行 make model")
    if folder.is_dir() or not is_hub_name(values.model):
        base = read_base_folder(folder, remedy)
        return choose_config(base, str(folder.resolve()), values.prompt_template)[0]
    found = choose_config_by_name(values.model)
    if found is None:
        raise UserError(f"MODEL={values.model}", tr("its sizes are not known here", "这里不知道它的尺寸"), remedy)
    return found[0]
