"""Every variable that a user can set: the table settings.json, the checks by kind, and the values of one call.

A value is taken from the command line (`--new-name 闻星`), else from the environment (`make data NEW_NAME=闻星`
puts it there), else from the default. Standard library only: `make` alone prints this table before any venv exists.
"""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lesson.core.machine import has_nvidia_driver
from lesson.core.messages import UserError, tr

ROOT = Path(__file__).resolve().parents[2]
TABLE_FILE = Path(__file__).with_name("settings.json")  # its form: schemas/settings.schema.json
# Marks that show nothing and change how the rest is shown or compared (unicode.org: UAX #9, bidirectional formatting), and
# spaces of no width. Joiners between emoji and in Persian are no part of it.
INVISIBLE = frozenset(
    "\u061c\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\u00ad\ufeff\ufff9\ufffa\ufffb"
)
LONGEST_NAME = 64  # characters; far above any name, far below what would fill a training row


@dataclass(frozen=True)
class Setting:
    """One variable: `check` turns the text into a value and raises ValueError with the accepted range."""

    name: str
    default: str
    en: str
    zh: str
    check: Callable[[str], object] = str
    of_export: tuple[str, ...] = ()  # values that it takes in export and eval USE=export

    @property
    def flag(self) -> str:
        return "--" + self.name.lower().replace("_", "-")

    def parse(self, text: str) -> object:
        """The value of `text`. Raises UserError that names the variable, the text and what is accepted."""
        try:
            return self.check(text)
        except ValueError as error:
            raise UserError(
                f"{self.name}={text!r}",
                tr(f"not accepted: {error}", f"不接受：{error}"),
                tr(f"set {self.name} to an accepted value ({self.en})", f"请改正 {self.name}（{self.zh}）"),
            ) from None


def one_of(*choices: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        if text not in choices:
            raise ValueError(tr("one of ", "只能是 ") + ", ".join(choices))
        return text

    return check


def some_of(*choices: str) -> Callable[[str], tuple[str, ...]]:
    """Several of the choices, a blank or a comma between two, in the order typed; `none` for none of them."""

    def check(text: str) -> tuple[str, ...]:
        typed = tuple(dict.fromkeys(text.replace(",", " ").split()))
        if typed == ("none",):
            return ()
        if not typed or set(typed) - set(choices):
            raise ValueError(tr("none, or some of ", "none，或以下若干个：") + ", ".join(choices))
        return typed

    return check


def integer(low: int, high: int) -> Callable[[str], int]:
    def check(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or not low <= value <= high:
            raise ValueError(tr(f"a whole number from {low} to {high}", f"应为 {low} 到 {high} 的整数"))
        return value

    return check


def number(low: float, high: float) -> Callable[[str], float]:
    def check(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:  # also false for NaN
            raise ValueError(tr(f"a number from {low:g} to {high:g}", f"应为 {low:g} 到 {high:g} 的数"))
        return value

    return check


def optional(check: Callable[[str], object]) -> Callable[[str], object]:
    """`check`, with the empty text as None: the variable was not set and the profile's value holds."""
    return lambda text: None if text == "" else check(text)


def parse_betas(text: str) -> tuple[float, float]:
    parts = text.split(",")
    try:
        values = tuple(number(0, 0.9999)(part.strip()) for part in parts)
    except ValueError:
        values = ()
    if len(values) != 2:
        raise ValueError(tr("two numbers from 0 to 0.9999, as 0.9,0.999", "应为两个 0 到 0.9999 的数，写作 0.9,0.999"))
    return values


def parse_save_limit(text: str) -> int:
    value = integer(-1, 1000)(text)
    if value == 0:
        raise ValueError(tr("-1 for all, or a whole number from 1 to 1000", "应为 -1（全部保留）或 1 到 1000 的整数"))
    return value


def parse_gpu_memory(text: str) -> float:
    """Memory in GB of a GPU named, of a share of one (A100-30%) or given as a number of GB."""
    model, _, share = text.rpartition("-") if text.endswith("%") else (text, "", "100%")
    try:
        memory = GPUS[model.upper()] if model.upper() in GPUS else float(model)
        memory *= number(1, 100)(share.removesuffix("%")) / 100
    except ValueError:
        memory = 0.0
    if not 0 < memory < 10_000:
        raise ValueError(tr("GB of memory, or one of ", "显存 GB 数，或 ") + ", ".join(GPUS) + ", A100-30%")
    return memory


def parse_cuda_version(text: str) -> str:
    if text and not (text.isdigit() and len(text) == 3):
        raise ValueError(tr("three digits, as 130 for CUDA 13.0", "三位数字，如 CUDA 13.0 写作 130"))
    return text


def parse_switch(text: str) -> bool:
    if text not in ("", "0", "1"):
        raise ValueError(tr("0 or 1", "只能是 0 或 1"))
    return text == "1"


def parse_name(text: str) -> str:
    if not text.strip():
        raise ValueError(tr("a name must not be empty", "名字不能为空"))
    if text != text.strip():
        raise ValueError(tr("a name must not begin or end with white space", "名字首尾不能有空白"))
    if len(text) > LONGEST_NAME:
        raise ValueError(tr(f"at most {LONGEST_NAME} characters", f"最多 {LONGEST_NAME} 个字符"))
    if any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") or c in INVISIBLE for c in text):
        raise ValueError(
            tr("a name must not hold control characters or direction marks", "名字不能含控制字符或方向标记")
        )
    if "<|" in text or "[UNUSED_TOKEN" in text:
        raise ValueError(tr("a name must not hold chat tokens", "名字不能含对话标记"))
    return text


def parse_host(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9.:-]{1,253}", text):
        raise ValueError(tr("a host name or an IP address", "应为主机名或 IP 地址"))
    return text


def parse_hosts(text: str) -> tuple[str, ...]:
    """Host names, a comma between two."""
    return tuple(parse_host(part.strip()) for part in text.split(",")) if text else ()


def parse_root_path(text: str) -> str:
    if text and not re.fullmatch(r"(/[\w.~%@:-]+)+/?|https?://[\w.:/~%@\[\]-]+", text, re.ASCII):
        raise ValueError(
            tr("a path as /user/anna/proxy/7860, or a whole URL", "应为 /user/anna/proxy/7860 这样的路径，或完整的 URL")
        )
    return text.rstrip("/")


def parse_repo(text: str) -> str:
    """A repository's name as the hub accepts it (huggingface_hub's validate_repo_id)."""
    part = r"(?![-.])[\w.-]{1,96}(?<![-.])"
    if text and (
        not re.fullmatch(f"{part}/{part}", text, re.ASCII) or "--" in text or ".." in text or text.endswith(".git")
    ):
        raise ValueError(tr("owner/name, of letters, digits, - _ and .", "应为 所有者/名字，由字母、数字、- _ . 组成"))
    return text


# What a kind in the table checks: as it stands, or made from the entry's range or choices.
KINDS: dict[str, Callable[[str], object]] = {
    "text": str,
    "betas": parse_betas,
    "save-limit": parse_save_limit,
    "gpu": parse_gpu_memory,
    "cuda": parse_cuda_version,
    "switch": parse_switch,
    "name": parse_name,
    "host": parse_host,
    "hosts": parse_hosts,
    "root-path": parse_root_path,
    "repo": parse_repo,
}
KINDS_WITH_LIMITS: dict[str, Callable[..., Callable[[str], object]]] = {
    "integer": integer,
    "number": number,
    "choice": one_of,
    "choices": some_of,
}


def setting_of(entry: Mapping[str, object], lists: Mapping[str, Sequence[str]]) -> Setting:
    """The variable that one entry of the table describes; `lists` are the choices that have a name of their own."""
    kind, choices = entry["kind"], entry.get("choices", ())
    choices = lists[choices] if isinstance(choices, str) else choices
    check = KINDS[kind] if kind in KINDS else KINDS_WITH_LIMITS[kind](*(choices or entry["range"]))
    return Setting(
        entry["name"],
        entry["default"],
        entry["en"].replace("{choices}", ", ".join(choices)),
        entry["zh"].replace("{choices}", "、".join(choices)),
        optional(check) if entry.get("optional") else check,
        tuple(entry.get("of_export", ())),
    )


# JSON, not TOML: an older Python reads it too, and is then told which one is needed.
_TABLE = json.loads(TABLE_FILE.read_text(encoding="utf-8"))
TEMPLATES: list[str] = _TABLE["lists"]["templates"]  # XTuner's chat templates
OPTIMIZERS: list[str] = _TABLE["lists"]["optimizers"]
GPUS: dict[str, int] = _TABLE["gpus"]  # name of a GPU -> its memory in GB
SETTINGS: dict[str, Setting] = {entry["name"]: setting_of(entry, _TABLE["lists"]) for entry in _TABLE["settings"]}
PROFILES: list[str] = next(entry["choices"] for entry in _TABLE["settings"] if entry["name"] == "PROFILE")
# The lesson's training parameters. Unset means: what the profile says, else what the stock config says.
TRAINING: list[Setting] = [SETTINGS[entry["name"]] for entry in _TABLE["settings"] if entry.get("training")]


class Values:
    """The settings of one call, parsed when asked for: `values.new_name`, `values.build`."""

    def __init__(self, flags: Mapping[str, str | None], environment: Mapping[str, str] | None = None) -> None:
        self._flags = {key.upper(): value for key, value in flags.items() if value is not None}
        self._environment = os.environ if environment is None else environment

    def text(self, key: str) -> str:
        setting = SETTINGS[key]
        if key in self._flags:
            return self._flags[key]
        # An empty NEW_NAME= was typed by somebody and is an error; an empty PROFILE= means the default.
        given = self._environment.get(key)
        if given is None or (given == "" and setting.default == ""):
            return setting.default
        return given

    def of_export(self, key: str, default: str, without: str = "") -> str:
        """The value of a variable that has other choices in export than elsewhere (`of_export` in the table), all but
        `without`. Raises UserError."""
        setting = SETTINGS[key]
        choices = [choice for choice in setting.of_export if choice != without]
        accepted = Setting(key, default, setting.en, setting.zh, one_of(*choices))
        return accepted.parse(self.text(key) if self.given(key) else default)

    def given(self, key: str) -> bool:
        """Whether the user set it, on the command line or in the environment."""
        return key in self._flags or bool(self._environment.get(key))

    def with_defaults(self, defaults: Mapping[str, str]) -> Values:
        """These settings, with `defaults` in place of the table's where the user set nothing."""
        return Values(
            self._flags, {**defaults, **{k: v for k, v in self._environment.items() if v or k not in defaults}}
        )

    def __getattr__(self, attribute: str) -> object:
        if attribute.startswith("_"):
            raise AttributeError(attribute)
        return SETTINGS[attribute.upper()].parse(self.text(attribute.upper()))

    @property
    def profile(self) -> str:
        """PROFILE, or what suits machine and base: 7b with a GPU; without one small for a base of one's own, else tiny."""
        return SETTINGS["PROFILE"].parse(self.text("PROFILE") or self._usual_profile())

    def _usual_profile(self) -> str:
        if has_nvidia_driver():
            return "7b"
        return "small" if self.given("MODEL") else "tiny"

    @property
    def unspoken_profile(self) -> str:
        """PROFILE=small where MODEL alone chose it, as later commands need it said; else empty."""
        small = not self.text("PROFILE") and not self.given("BUILD") and self._usual_profile() == "small"
        return "PROFILE=small" if small else ""

    @property
    def speed(self) -> str:
        """SPEED, or what it is when it was not set: the lesson's own way is too slow for a real base on a CPU."""
        return SETTINGS["SPEED"].parse(self.text("SPEED") or ("fast" if self.profile == "small" else "stock"))

    @property
    def profile_file(self) -> str:
        """The stem of the profile's file in profiles/: each profile has a variant for SPEED=fast."""
        return self.profile + ("_fast" if self.speed == "fast" else "")

    @property
    def deepspeed_config(self) -> str:
        """DEEPSPEED, or what it is when it was not set: stock at 7b trains as the lesson does."""
        stock = self.profile == "7b" and self.speed == "stock"
        return self.deepspeed or ("deepspeed_zero2" if stock else "none")

    @property
    def build(self) -> Path:
        return Path(self.text("BUILD") or f"build/{self.profile}")
