"""The base model at BUILD/model: the tiny base that ships, or a link to the one named, looked at before training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from lesson.core.files import sha256_tree
from lesson.core.layout import base_model
from lesson.core.messages import UserError, tr
from lesson.core.records import Record, find_record, make_alone
from lesson.core.settings import Values
from lesson.model.base_folder import BaseFolder, check_shards, license_of, read_base_folder
from lesson.model.base_record import recorded_base
from lesson.model.families import choose_config, config_family, refuse_misfit
from lesson.model.hub import Download, download_base, is_hub_name
from lesson.model.tiny_base import SHIPPED, base_files, fill_folder


@dataclass(frozen=True)
class BaseModel:
    """The base model at `folder`: `origin` says in words where it came from, `warnings` what may be wrong with it.

    `choice` says which stock config was chosen for it, and why; empty where the user named one.
    """

    folder: Path
    origin: str
    warnings: list[str] = field(default_factory=list)
    choice: str = ""


def provide_base(values: Values, report: Callable[[str], None]) -> BaseModel:
    """Put the base model at BUILD/model: the tiny one, or a link to MODEL, a folder or a name on a hub.

    `report` is called with a line before a download begins. Raises UserError when MODEL is not whole, or when
    BASE_CONFIG cannot train it.
    """
    target = base_model(values.build)
    if values.model:
        return link_base(target, values, report)
    linked = target.is_symlink() and target.exists()
    if linked and not (values.profile == "tiny" and values.force):
        refuse_other_config(values, target)
        return BaseModel(target, _linked_before(values))
    if values.profile == "tiny":
        refuse_other_config(values, None)
        return install_shipped(target, values.force)
    raise UserError("MODEL", tr("no base model is named", "没有指定基座模型"), _remedy())


def _remedy() -> str:
    return tr(
        "set MODEL= to the base's folder, or its name on the hub, as internlm/internlm2_5-7b-chat",
        "请用 MODEL= 指定基座目录，或它在模型仓库里的名字，如 internlm/internlm2_5-7b-chat",
    )


def _linked_before(values: Values) -> str:
    if values.profile == "tiny":
        return tr("linked before; FORCE=1 puts the tiny base back", "之前已链接；FORCE=1 换回 tiny 基座")
    return tr("linked before", "之前已链接")


def refuse_other_config(values: Values, linked: Path | None) -> None:
    """Raise UserError when a BASE_CONFIG that the user named cannot train the base at hand: the one that is `linked`,
    or the tiny one that ships."""
    if not values.given("BASE_CONFIG"):
        return
    if linked is not None:
        name = str(recorded_base(values.build).get("name") or linked.resolve())
        template = values.prompt_template
        refuse_misfit(read_base_folder(linked, _remedy()), values.base_config, template, name)
        return
    family = config_family(values.base_config)
    if family is None or "internlm2" not in family.model_types:
        raise UserError(
            f"BASE_CONFIG={values.base_config}",
            tr(
                "the base that ships with PROFILE=tiny is an InternLM2, which this config does not train",
                "PROFILE=tiny 自带的基座是 InternLM2，这个配置不能训练它",
            ),
            tr(
                "set MODEL= to a base that it trains, or leave BASE_CONFIG out",
                "请用 MODEL= 指定它能训练的基座，或去掉 BASE_CONFIG",
            ),
        )


def install_shipped(target: Path, force: bool) -> BaseModel:
    """Copy the tiny base that ships to `target`, where it is not up to date."""
    shipped = sha256_tree(SHIPPED)
    record = Record(target, {"shipped": shipped}, {"profile": "tiny"})
    with make_alone(target):
        if record.up_to_date():
            return BaseModel(target, tr("up to date", "已是最新"))
        if not target.is_symlink():  # a link of ours goes without a word
            record.guard(force)
        with record.write_folder() as folder:
            fill_folder(folder, base_files())
    return BaseModel(target, tr("the tiny base that ships", "随仓库附带的小模型"))


def link_base(target: Path, values: Values, report: Callable[[str], None]) -> BaseModel:
    """Make `target` a link to the folder MODEL, or to what is downloaded under that name, after looking at it."""
    folder, download = Path(values.model), None
    if not folder.is_dir() and is_hub_name(values.model):
        download = download_base(values, report)
        folder = download.folder
    base = read_base_folder(folder, _remedy())
    described = describe_base(base, download)
    name = str(described["name"])
    if values.given("BASE_CONFIG"):
        chosen, choice = values.base_config, ""
        refuse_misfit(base, chosen, values.prompt_template, name)
        template = config_family(chosen).template
    else:
        chosen, template = choose_config(base, name, values.prompt_template)
        choice = choice_line(base, chosen, values.prompt_template or template)
    shards = check_shards(folder, _remedy())
    described |= {"named": values.model, "base_config": chosen, "template": values.prompt_template or template}
    record = Record(target, {}, {"profile": values.profile})
    record.facts = {"base": described}
    with make_alone(target):
        if target.exists() and not target.is_symlink():
            _refuse_folder(target)
        record.write_link(folder.resolve(), shards)
    origin = tr(f"link to {folder}", f"链接到 {folder}")
    if download:
        origin = f"{download.name} @ {download.revision[:12]}, {origin}"
    return BaseModel(target, origin, generation_warnings(base, chosen), choice)


def _refuse_folder(target: Path) -> None:
    """Raise UserError when something else is at `target` than the tiny base that an earlier call put there."""
    if (find_record(target) or {}).get("output") != sha256_tree(target):
        raise UserError(
            target, tr("is a folder, not a link of ours", "是目录，不是我们建的链接"), tr("move it away", "请先移走")
        )


def describe_base(base: BaseFolder, download: Download | None = None) -> dict[str, object]:
    """What the run record keeps of a base: its name (on the hub, else the folder), hub and revision, shape, licence."""
    hub, revision = None, None
    if download:
        name, hub, revision = download.name, download.hub, download.revision
    elif cached := base.hub_name:
        (name, revision), hub = cached, "huggingface"
    else:
        name = str(base.folder.resolve())
    return {
        "name": name,
        "hub": hub,
        "revision": revision,
        "model_type": base.model_type,
        "license": license_of(base, name),
    }


def choice_line(base: BaseFolder, config: str, template: str) -> str:
    """Which stock config was chosen for a base, and why."""
    forms = {"chatml": "ChatML", "llama3": "Llama 3"}
    form = forms.get(base.chat_form)
    why = tr(
        f"it is a {base.model_type}"
        + (f" whose chat template is {form}" if form else " without a chat template known here"),
        f"它是 {base.model_type}" + (f"，对话模板为 {form}" if form else "，没有可识别的对话模板"),
    )
    return tr(
        f"BASE_CONFIG={config} with the template {template}, for {why}",
        f"BASE_CONFIG={config}，模板 {template}：{why}",
    )


def generation_warnings(base: BaseFolder, base_config: str) -> list[str]:
    """A warning when the folder looks like InternLM2-Chat while the config is InternLM2.5's: same sizes, other model."""
    wants = "internlm2_5" in base_config
    text = base.card.lower() or base.folder.resolve().name.lower()
    is_25 = any(mark in text for mark in ("internlm2_5", "internlm2.5", "internlm2-5"))
    if wants and not is_25:
        return [
            tr(
                f"{base.folder} does not call itself InternLM2.5, which {base_config} means",
                f"{base.folder} 看起来不是 InternLM2.5，而 {base_config} 需要它",
            )
        ]
    return []
