"""The base that a training reads, as its config names it: checked, hashed and described where it lies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lesson.config.summary import summary_of
from lesson.core.files import readable
from lesson.core.layout import base_model
from lesson.core.messages import tr
from lesson.core.records import record_path
from lesson.core.settings import Values
from lesson.model.base_folder import check_shards, read_base_folder
from lesson.model.base_record import recorded_base, recorded_base_hash
from lesson.model.hub import is_hub_name
from lesson.model.link import BaseModel, describe_base, provide_base
from lesson.model.shape import shape_of


def provide_base_to_train(values: Values, report: Callable[[str], None]) -> BaseModel:
    """The base that training reads: the one that CONFIG names, checked where it lies; else see provide_base."""
    if not values.config or values.model:
        return provide_base(values, report)
    readable(values.config, tr("check CONFIG", "请检查 CONFIG"))
    named = summary_of(values.config).get("model_path")
    if not isinstance(named, str) or Path(named) == base_model(values.build):
        return provide_base(values, report)
    check_base(Path(named))
    return BaseModel(Path(named), tr(f"named by {values.config}", f"由 {values.config} 指定"))


def check_base(folder: Path) -> str:
    """The hash of the base in `folder`, after looking at its config.json and its shards. Raises UserError."""
    name = folder.as_posix()
    remedy = tr(
        "run make model, or name a folder with a base in the config",
        "请运行 make model，或在配置里写基座目录",
    )
    if is_hub_name(name):
        remedy = tr(
            f"run make model MODEL={name} and write the folder that it names into the config",
            f"请运行 make model MODEL={name}，并把它给出的目录写进配置",
        )
    base = read_base_folder(folder, remedy)
    shape_of(base.config, folder / "config.json")
    return check_shards(folder, remedy)


def read_base_hash(folder: Path) -> str:
    """The hash of the base that a config names: what make model recorded, else what is found there. Raises UserError."""
    if record_path(folder).exists():
        return recorded_base_hash(folder)
    return check_base(folder)


def describe_trained_base(build: Path, folder: Path) -> dict[str, object]:
    """{"base": what the run record keeps of the base in `folder`}, or {} for the tiny base that ships."""
    keys = ("name", "hub", "revision", "model_type", "license")
    if folder == base_model(build):
        known = recorded_base(build)
        return {"base": {key: known[key] for key in keys}} if known else {}
    return {"base": describe_base(read_base_folder(folder, ""))}
