"""What the parts of a config are given: keywords that they do not take, and values of a type or size that they refuse.

signatures.json holds what the installed packages accept (`python -m recipe.signatures` writes it); arguments.json what
their signatures do not say: types that are not annotated, ranges, and where a dict without `type` ends up.
"""

from __future__ import annotations

import ast
import difflib
import functools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from lesson.config.context import ConfigContext
from lesson.config.parsed import FoldedDict, ParsedConfig, Ref, Unknown, show_value
from lesson.config.rules import Violation, Violations
from lesson.config.schedule import DataMeasures
from lesson.core.messages import tr

SIGNATURES_FILE = Path(__file__).with_name("signatures.json")  # its form: schemas/config_signatures.schema.json
ARGUMENTS_FILE = Path(__file__).with_name("arguments.json")  # its form: schemas/config_arguments.schema.json
SIGNATURES: dict[str, dict] = json.loads(SIGNATURES_FILE.read_text(encoding="utf-8"))
_TABLE = json.loads(ARGUMENTS_FILE.read_text(encoding="utf-8"))
RUNNER = "mmengine.runner.Runner"  # takes the variables of the file themselves
DTYPES = ("float16", "bfloat16", "float32", "float64", "uint8", "int8", "auto")
# Objects that stand for a text: their attributes are texts.
TEXTS = ("xtuner.utils.",)
_SHORT: dict[str, list[str]] = {}
for _name in SIGNATURES:
    _SHORT.setdefault(_name.rpartition(".")[2], []).append(_name)


@dataclass(frozen=True)
class Argument:
    """What one keyword of one object accepts. No kinds: anything."""

    kinds: tuple[str, ...]
    lowest: float | None = None  # inclusive
    above: float | None = None  # exclusive
    highest: float | None = None
    forbidden: tuple[float, ...] = ()
    choices: tuple[str, ...] = ()
    example: str | None = None
    setting: str | None = None

    def accepts(self, value: object) -> bool:
        """Whether `value` may stand there; what folding does not know may always."""
        if isinstance(value, Unknown) or not self.kinds:
            return True
        return any(self._is_kind(value, kind) for kind in self.kinds)

    def _is_kind(self, value: object, kind: str) -> bool:
        match kind:
            case "none":
                return value is None
            case "bool":
                return isinstance(value, bool) or (type(value) is int and value in (0, 1))
            case "int":
                return type(value) is int and self._in_range(value)
            case "float":
                return type(value) in (int, float) and self._in_range(value)
            case "str":
                text = isinstance(value, str) and (not self.choices or value in self.choices)
                return text or (isinstance(value, Ref) and value.name.startswith(TEXTS))
            case "dtype":
                return value in DTYPES or (isinstance(value, Ref) and value.name.startswith("torch."))
            case "ref":
                return isinstance(value, Ref)
            case "dict":
                return isinstance(value, dict)
            case "list" | "tuple":
                return isinstance(value, list | tuple)
            case "texts":
                return isinstance(value, list | tuple) and all(isinstance(v, str | Unknown) for v in value)
            case "pair":
                numbers = isinstance(value, list | tuple) and len(value) == 2
                return numbers and all(isinstance(v, Unknown) or self._is_kind(v, "float") for v in value)
        raise ValueError(kind)

    def _in_range(self, value: float) -> bool:
        low = self.lowest is None or value >= self.lowest
        high = self.highest is None or value <= self.highest
        # NaN is in no range.
        return low and high and (self.above is None or value > self.above) and value not in self.forbidden

    def wanted(self) -> str:
        """What is accepted, in the user's language."""
        if self.choices and self.kinds[0] == "str":
            return tr("one of ", "可选：") + ", ".join(self.choices)
        names = {
            "int": tr("a whole number", "整数"),
            "float": tr("a number", "数"),
            "bool": "True / False",
            "str": tr("a text", "文本"),
            "none": "None",
            "dict": "dict(…)",
            "dtype": "torch.float16, torch.bfloat16, torch.float32",
            "list": tr("a list", "列表"),
            "tuple": tr("a list", "列表"),
            "texts": tr("a list of texts", "文本列表"),
            "pair": tr("two numbers", "两个数"),
            "ref": tr("an object", "对象"),
        }
        kinds = list(dict.fromkeys(names[kind] for kind in self.kinds))
        text = tr(" or ", "或").join(kinds)
        if self.above is not None:
            text += f" > {self.above:g}"
        elif self.lowest is not None:
            text += f" ≥ {self.lowest:g}"
        return text + "".join(f", ≠ {value:g}" for value in self.forbidden)


def _argument(owner: str, name: str, kinds: list[str]) -> Argument:
    """What the keyword `name` of `owner` accepts: the entry of arguments.json, else the kinds of the signature."""
    for entry in _TABLE["values"]:
        if entry["name"] == name and fnmatchcase(owner, entry["of"]):
            low, high = entry.get("range", (None, None))
            return Argument(
                tuple(entry["kinds"]),
                low,
                entry.get("above"),
                high,
                tuple(entry.get("not", ())),
                tuple(entry.get("choices", ())),
                entry["example"],
                entry.get("setting"),
            )
    return Argument(tuple(kinds))


# Dicts that mmengine reads itself, and that no object is called with.
_PLAIN = frozenset(name for name in _TABLE["places"].values() if "." not in name)


def is_known(owner: str | None) -> bool:
    """Whether it is known here what an object, or a dict at a place of its own, takes."""
    return owner in SIGNATURES or owner in _PLAIN


@functools.cache
def arguments_of(owner: str) -> tuple[Mapping[str, Argument], bool]:
    """({keyword: what it accepts}, whether further keywords are taken) of an object or a place that `is_known`."""
    signature = SIGNATURES.get(owner, {"open": False, "parameters": {}})
    names = dict(signature["parameters"])
    for pattern, more in _TABLE["also_taken"].items():
        if fnmatchcase(owner, pattern):
            names |= {key: [] for key in more}
    for entry in _TABLE["values"]:
        if fnmatchcase(owner, entry["of"]) and (signature["open"] or owner in _PLAIN):
            names.setdefault(entry["name"], [])
    return {name: _argument(owner, name, kinds) for name, kinds in names.items()}, signature["open"]


def object_name(value: object) -> str | None:
    """The full name of the object that a `type` names, as an import, as text (in XTuner's dumps) or by its short name."""
    name = value.name if isinstance(value, Ref) else value if isinstance(value, str) else None
    if name is None or is_known(name):
        return name
    full = _SHORT.get(name, [])
    return full[0] if full else name


def calls_in(config: ParsedConfig) -> Iterator[tuple[str, str, FoldedDict, int]]:
    """(path, object or place, its keywords, line) of every dict that is called with, or read as, what is known here."""
    seen: set[int] = set()
    stack: list[tuple[str, object, int]] = [(k, v, config.lines.get(k, 1)) for k, v in config.values.items()]
    while stack:
        path, value, line = stack.pop()
        if isinstance(value, FoldedDict):
            owner = object_name(value.get("type")) or _TABLE["places"].get(path)
            if is_known(owner) and id(value) not in seen:
                seen.add(id(value))
                yield path, owner, value, line
            stack.extend((f"{path}.{k}", v, value.lines.get(k, line)) for k, v in value.items())
        elif isinstance(value, list | tuple):
            stack.extend((f"{path}[]", item, line) for item in value)


def check_arguments(config: ParsedConfig, data: DataMeasures | None, context: ConfigContext) -> Violations:
    """Keywords that an object does not take, and values that it refuses."""
    told: set[tuple[int, str]] = set()  # a variable that is used three times is told of once
    for _, owner, given, line in calls_in(config):
        known, is_open = arguments_of(owner)
        for key, value in given.items():
            if not isinstance(key, str) or key == "type" or key.startswith("_"):
                continue
            place = given.lines.get(key, line)
            if key not in known:
                broken = _unknown_keyword(owner, key, place, known, is_open)
            else:
                broken = None if known[key].accepts(value) else _refused(owner, key, value, place, known[key])
            if broken and (place, show_value(value)) not in told:
                told.add((place, show_value(value)))
                yield broken
    yield from _check_variables(config)


def _unknown_keyword(owner: str, key: str, line: int, known: Mapping[str, Argument], is_open: bool) -> Violation | None:
    """A keyword that is not known. What takes any keyword is only told of one that is nearly one it has use for."""
    close = difflib.get_close_matches(key, known, 1, 0.85 if is_open else 0.6)
    if is_open and not close:
        return None
    found = f"{owner.rpartition('.')[2]}({key}=…)"
    return Violation("keyword", line, found, tr(f"write {close[0]}=", f"请改为 {close[0]}=") if close else None)


def _refused(owner: str, key: str, value: object, line: int, argument: Argument) -> Violation:
    shown = show_value(value)
    hint = ""
    if isinstance(value, tuple) and len(value) == 1:
        hint = tr(" (the comma makes it a tuple)", "（逗号使它成为元组）")
    found = f"{key} = {shown}{hint}, {owner.rpartition('.')[2]}: {argument.wanted()}"
    if argument.example is None:
        return Violation("value-type", line, found)
    advice = argument.example
    if argument.setting:
        advice = tr(f"{argument.setting}, or {advice}", f"{argument.setting}，或 {advice}")
    return Violation("value-type", line, found, advice)


def _check_variables(config: ParsedConfig) -> Violations:
    """The file's own variables: those that mmengine's Runner reads, and those that are nearly one of them."""
    known, _ = arguments_of(RUNNER)
    used = _names_read(config.source)
    for name, value in config.values.items():
        line = config.lines.get(name, 1)
        if name in known:
            if not known[name].accepts(value):
                yield _refused(RUNNER, name, value, line, known[name])
        elif name not in used and (close := difflib.get_close_matches(name, known, 1, 0.85)):
            yield Violation("keyword", line, f"{name} = …", tr(f"write {close[0]} =", f"请改为 {close[0]} ="))


def _names_read(source: str | None) -> set[str]:
    """The names that a source reads."""
    nodes = ast.walk(ast.parse(source)) if source else ()
    return {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
