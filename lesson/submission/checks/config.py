"""Checks of the submitted config, read without running it: it only configures, and configures the lesson."""

from __future__ import annotations

import posixpath

from lesson.config.check import ConfigFinding, apply_rules
from lesson.config.context import ConfigContext
from lesson.config.rules import ERROR
from lesson.config.summary import lookup, name_data_sources
from lesson.core.messages import tr
from lesson.core.text import shorten
from lesson.submission.evidence import Evidence
from lesson.submission.registry import Failed, define_check
from lesson.submission.staff import StaffInputs


def _config_errors(evidence: Evidence) -> list[ConfigFinding]:
    stock = evidence.sound_record["config"] if evidence.sound_record else None
    folders = _folders_handed_in(evidence)
    context = ConfigContext(files=False, meant=stock, old_name=evidence.old_name, folders=folders)
    return [f for f in apply_rules(evidence.config, context).findings if f.severity == ERROR]


def _folders_handed_in(evidence: Evidence) -> tuple[str, ...]:
    """The folders of rows that the config names and that are here, and the folders at the top of what was handed in."""
    inside = {part for name in evidence.row_files for part in name.split("/")[:-1]}
    named = [path for path in name_data_sources(evidence.config) if path.rstrip("/").rpartition("/")[2] in inside]
    return (*named, *{name.split("/")[0] for name in evidence.view.entries if "/" in name})


def _is_trust(rule: str) -> bool:
    return rule.startswith("trust-") or rule in ("syntax", "undefined", "cannot-load", "base")


def _require_none(found: list[ConfigFinding], pass_text: str) -> str:
    if found:
        raise Failed(f"{found[0].found}; {found[0].why}", found[0].remedy, [str(f) for f in found])
    return pass_text


@define_check("config", "config")
def config_only(evidence: Evidence, staff: StaffInputs) -> str:
    """the config only configures, and can be read without running it | 配置只含配置，不运行即可读懂"""
    return _require_none([f for f in _config_errors(evidence) if _is_trust(f.rule)], tr("nothing else", "没有其他内容"))


@define_check("config", "config", after=("config_only",))
def config_rules(evidence: Evidence, staff: StaffInputs) -> str:
    """the config is the lesson's: its data, map function, base and questions | 配置符合课程：数据、映射函数、基座、问题"""
    found = [f for f in _config_errors(evidence) if not _is_trust(f.rule)]
    return _require_none(found, tr("no error", "没有错误"))


@define_check("config", "config", "data", after=("config_only",))
def config_data(evidence: Evidence, staff: StaffInputs) -> str:
    """the config's system prompt is the data's | 配置里的 system 与数据一致"""
    system, line = lookup(evidence.config, "system")
    persona = evidence.data.persona
    if isinstance(system, str) and system and persona and system != persona:  # left empty, nothing is asked under it
        raise Failed(
            f"{evidence.parts['config']}:{line}: {shorten(system)} ≠ {shorten(persona)}",
            tr("make config after make data", "请在 make data 之后运行 make config"),
        )
    return shorten(", ".join(name_data_sources(evidence.config)))


def _same_base(path: str, name: str, recorded: str | None) -> bool:
    """Whether `name` is the config's `path`, its absolute form, or the name that the run record gives the base there."""
    path, name = (posixpath.normpath(text.replace("\\", "/")) for text in (path, name))  # ./model is model
    return name in (path, recorded) or (name.startswith("/") and name.endswith(f"/{path.lstrip('./')}"))


@define_check("config", "config", "adapter_config", after=("config_only",))
def config_base(evidence: Evidence, staff: StaffInputs) -> str:
    """config and adapter name the same base model | 配置与适配器指向同一基座"""
    path = lookup(evidence.config, "model_path")[0]
    names = {"config": path, "adapter": evidence.adapter_config.get("base_model_name_or_path")}
    if evidence.manifest:
        names["manifest"] = evidence.manifest["base"]
    # The recipe's link to the base, whose adapters name where it leads; only a record tells what that was.
    linked = str(path).rstrip("/").endswith("/model") and not evidence.manifest and "record" not in evidence.parts
    if not linked and any(not _same_base(str(path), str(name), evidence.base_name) for name in names.values()):
        shown = ", ".join(f"{key}: {shorten(str(name))}" for key, name in names.items())
        raise Failed(shown, tr("convert the run that this config trained", "请转换该配置训练出的结果"))
    return shorten(str(path))
