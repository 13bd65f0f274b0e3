"""Which of XTuner's stock configs fit a base: told by the base's architecture and the form of its chat template."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase

from lesson.core.messages import UserError, tr
from lesson.model.base_folder import BaseFolder
from lesson.model.known_bases import BASE_SIZES, family_and_size
from lesson.model.shape import shape_of

# XTuner's template -> the form of the chat template that writes the same text.
FORMS = {"internlm2_chat": "chatml", "qwen_chat": "chatml", "llama3_chat": "llama3"}
FORM_NAMES = {"chatml": "ChatML", "llama3": "Llama 3"}
ARCHITECTURES = {
    "internlm2": "InternLM2ForCausalLM",
    "internlm3": "InternLM3ForCausalLM",
    "qwen": "QWenLMHeadModel",
    "qwen2": "Qwen2ForCausalLM",
    "llama": "LlamaForCausalLM",
}


@dataclass(frozen=True)
class ConfigFamily:
    """Stock configs of one kind: what they are called, which architectures they train, and in which template.

    `choices` are (name, billions of parameters of the base that it was written for): one is chosen where the user names
    no config.
    """

    pattern: str
    model_types: tuple[str, ...]
    template: str
    choices: tuple[tuple[str, float], ...] = ()


def _qwen(*sizes: str) -> tuple[tuple[str, float], ...]:
    return tuple((f"qwen1_5_{size}b_chat_qlora_alpaca_e3", float(size.replace("_", "."))) for size in sizes)


CONFIG_FAMILIES = (
    ConfigFamily(
        "internlm2_5_*",
        ("internlm2",),
        "internlm2_chat",
        (("internlm2_5_chat_7b_qlora_alpaca_e3", 7.7), ("internlm2_5_chat_20b_qlora_alpaca_e3", 19.9)),
    ),
    ConfigFamily(
        "internlm2_*",
        ("internlm2",),
        "internlm2_chat",
        tuple((f"internlm2_chat_{n}b_qlora_alpaca_e3", s) for n, s in (("1_8", 1.9), ("7", 7.7), ("20", 19.9))),
    ),
    ConfigFamily("internlm3_*", ("internlm3",), "internlm2_chat"),
    ConfigFamily("qwen1_5_*", ("qwen2", "llama"), "qwen_chat", _qwen("0_5", "1_8", "4", "7", "14", "72")),
    ConfigFamily(
        "qwen_*",
        ("qwen",),
        "qwen_chat",
        (("qwen_1_8b_chat_qlora_alpaca_e3", 1.8), ("qwen_7b_chat_qlora_alpaca_e3", 7.7)),
    ),
    ConfigFamily("llama3_*", ("llama",), "llama3_chat", (("llama3_8b_instruct_qlora_alpaca_e3", 8.0),)),
)


def config_family(config: str) -> ConfigFamily | None:
    """The family of the stock config called `config`; None for one that no base here is trained with."""
    return next((family for family in CONFIG_FAMILIES if fnmatchcase(config, family.pattern)), None)


def chosen_config(model_type: str, chat_form: str, parameters: float, name: str) -> tuple[str, str] | None:
    """(stock config, XTuner's template) for a base, or None when no family has its architecture and template.

    `parameters` counts them; of configs alike the one is taken that was written for the size nearest to it. `name` is the
    base's: InternLM2 and InternLM2.5 are of one architecture, and it tells them apart.
    """
    generation = "internlm2_*" if _is_internlm2(name) else "internlm2_5_*"
    for family in CONFIG_FAMILIES:
        if model_type not in family.model_types or not family.choices:
            continue
        if model_type == "internlm2" and family.pattern != generation:
            continue
        # Without a template in its tokenizer, InternLM2 and Qwen are asked in their own, which is ChatML. One of another
        # form is none of theirs where others took their shape: DeepSeek-R1-Distill-Qwen is a qwen2 and no Qwen.
        own = {"none": ("internlm2", "qwen", "qwen2"), "other": ("internlm2", "qwen")}.get(chat_form, ())
        if chat_form == FORMS[family.template] or model_type in own:
            nearest = min(family.choices, key=lambda choice: abs(math.log(choice[1] * 1e9 / parameters)))
            return nearest[0], family.template
    return None


def _is_internlm2(name: str) -> bool:
    """Whether a base's name (the last part of a path or of a hub's name) says InternLM2 and not 2.5."""
    return bool(re.search(r"internlm[-_]?2(?![._-]?5)", name.rpartition("/")[2].lower()))


def choose_config(base: BaseFolder, name: str, template: str | None = None) -> tuple[str, str]:
    """As chosen_config, for a folder. Raises UserError where no stock config fits.

    `template` is PROMPT_TEMPLATE where the user set it: it stands for the base's own.
    """
    shape = shape_of(base.config, base.folder / "config.json")
    form = FORMS.get(template, "chatml") if template and base.model_type == "llama" else base.chat_form
    found = chosen_config(base.model_type, form, shape.parameters, name)
    if found is None:
        raise UserError(
            base.folder,
            tr(
                f"no stock config fits {base.model_type} with a chat template of {_form(base.chat_form)} form",
                f"没有适合 {base.model_type}（对话模板：{_form(base.chat_form)}）的自带配置",
            ),
            tr(
                "take a chat model with a ChatML or Llama 3 template, or name both BASE_CONFIG= and PROMPT_TEMPLATE=",
                "请用 ChatML 或 Llama 3 模板的对话模型，或同时指定 BASE_CONFIG= 和 PROMPT_TEMPLATE=",
            ),
        )
    return found


def choose_config_by_name(name: str) -> tuple[str, str] | None:
    """As chosen_config, for a base that is not here, by its published sizes; None for one that is not known."""
    known = family_and_size(name)
    if known not in BASE_SIZES:
        return None
    config = BASE_SIZES[known]
    form = "llama3" if known[0].startswith("llama") else "chatml"
    return chosen_config(config["model_type"], form, shape_of(config, name).parameters, name)


def refuse_misfit(base: BaseFolder, config: str, template: str | None, name: str) -> None:
    """Raise UserError when `base` cannot be trained with the stock config called `config`, naming those that fit.

    `template` is PROMPT_TEMPLATE where the user set it: then the base's own form does not matter.
    """
    family = config_family(config)
    where = base.folder / "config.json"
    wanted = ARCHITECTURES.get(base.model_type)
    if family is None or base.model_type not in family.model_types or base.config["architectures"] != [wanted]:
        expected = " / ".join(ARCHITECTURES[kind] for kind in family.model_types) if family else "?"
        found = ", ".join(map(str, base.config["architectures"])) or "[]"
        what = tr(
            f"{found}, where {config} trains {expected}",
            f"是 {found}，而 {config} 训练的是 {expected}",
        )
        raise UserError(f"{where}: $.architectures", what, _fitting(base, name))
    form = FORMS.get(template or family.template)
    if base.model_type == "llama" and template is None and base.chat_form != form:
        what = tr(
            f"its chat template is of {_form(base.chat_form)} form, and {config} speaks {family.template}",
            f"它的对话模板是 {_form(base.chat_form)}，而 {config} 用 {family.template}",
        )
        raise UserError(base.folder / "tokenizer_config.json", what, _fitting(base, name))
    shape_of(base.config, where)


def _form(form: str) -> str:
    return FORM_NAMES.get(form) or {"none": tr("no", "无")}.get(form, tr("another", "其他"))


def _fitting(base: BaseFolder, name: str) -> str:
    try:
        found, template = choose_config(base, name)
    except UserError:
        kinds = ", ".join(ARCHITECTURES.values())
        return tr(f"set MODEL= to a base of one of {kinds}", f"请用 MODEL= 指定以下架构之一的基座：{kinds}")
    family = config_family(found)
    others = ", ".join(name for name, _ in family.choices if name != found)
    return tr(
        f"leave BASE_CONFIG out, or set it to {found}"
        + (f" (or {others})" if others else "")
        + f", which speaks {template}",
        f"请去掉 BASE_CONFIG，或改为 {found}" + (f"（或 {others}）" if others else "") + f"，其模板为 {template}",
    )
