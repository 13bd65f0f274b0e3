"""What the parts of a config accept: the keywords of each, and their types, read from the packages that are installed.

check-config imports none of these packages: it reads the file that `make golden` writes from here, signatures.json.
"""

from __future__ import annotations

import collections.abc
import contextlib
import functools
import importlib
import inspect
import json
import types
import typing
from collections.abc import Callable, Iterator

from lesson.config.trust import TRUSTED_OBJECTS

# Called with keywords that stand in a config, though no config imports them.
ALSO = (
    "mmengine.runner.Runner",
    "mmengine.runner.LogProcessor",
    "mmengine.runner.set_random_seed",
    "torch.amp.GradScaler",
    "torch.nn.utils.clip_grad_norm_",
    "torch.utils.data.DataLoader",
    "transformers.AutoModelForCausalLM.from_pretrained",
    "transformers.AutoTokenizer.from_pretrained",
)
_SIMPLE = {bool: "bool", int: "int", float: "float", str: "str", list: "list", tuple: "tuple", dict: "dict"}
_ABSTRACT = {
    collections.abc.Sequence: ("list", "tuple"),
    collections.abc.Iterable: ("list", "tuple"),
    collections.abc.Mapping: ("dict",),
    collections.abc.MutableMapping: ("dict",),
}


def collect_signatures() -> dict[str, dict[str, object]]:
    """{full name: {"open": whether it takes further keywords, "parameters": {keyword: kinds}}} of all that a config calls.

    A kind is bool, int, float, str, list, tuple, dict or none; an empty list of kinds means that anything may stand there.
    """
    found = {}
    for name in sorted({*TRUSTED_OBJECTS, *ALSO}):
        target = _find(name)
        if callable(target):
            keywords, is_open = _keywords(target)
            found[name] = {"open": is_open, "parameters": keywords}
    return found


def signatures_text() -> str:
    """The file signatures.json as it should be: a line for each object, so that a difference can be read."""
    lines = (f" {json.dumps(name)}: {json.dumps(entry)}" for name, entry in collect_signatures().items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _find(name: str) -> object:
    """The object called `name`; None where its package is not installed (openmind, which only NPUs have)."""
    parts = name.split(".")
    # An object before a module of the same name: xtuner.dataset.collate_fns.default_collate_fn is both.
    for end in range(len(parts) - 1, 0, -1):
        with contextlib.suppress(ImportError):
            module = importlib.import_module(".".join(parts[:end]))
            return functools.reduce(lambda owner, part: getattr(owner, part, None), parts[end:], module)
    return None


def _keywords(target: Callable) -> tuple[dict[str, list[str]], bool]:
    """(keywords with their kinds, whether any other is taken as well)."""
    keywords: dict[str, list[str]] = {}
    for function in _called_in_turn(target):
        hints = _hints(function)
        is_open = False
        for parameter in inspect.signature(function).parameters.values():
            if parameter.kind is parameter.VAR_KEYWORD:
                is_open = True
            elif parameter.kind is not parameter.VAR_POSITIONAL and parameter.name not in ("self", "cls"):
                keywords.setdefault(parameter.name, _kinds(hints.get(parameter.name), parameter))
        if not is_open:
            return keywords, False
    return keywords, True


def _called_in_turn(target: Callable) -> Iterator[Callable]:
    """What keywords reach: a function; of a class its __init__, and those above it, to which **kwargs are handed on."""
    if not inspect.isclass(target):
        yield target
        return
    # mmengine builds schedules that count in epochs by a method of their own, which takes two keywords more.
    if hasattr(target, "build_iter_from_epoch"):
        yield functools.partial(target.build_iter_from_epoch)
    for owner in target.__mro__:
        if "__init__" in vars(owner) and owner is not object:
            yield owner.__init__


def _hints(function: Callable) -> dict[str, object]:
    """The annotations that can be evaluated, one by one: some name what exists for a type checker only."""
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(function)
    hints = {}
    for name, hint in getattr(function, "__annotations__", {}).items():
        with contextlib.suppress(NameError, TypeError, AttributeError):
            # The source of an installed package, which was imported just now.
            hints[name] = eval(hint, vars(typing) | function.__globals__) if isinstance(hint, str) else hint
    return hints


def _kinds(hint: object, parameter: inspect.Parameter) -> list[str]:
    """The kinds of a keyword by its annotation, else by its default; [] where neither tells."""
    kinds = set()
    for part in _union(hint):
        if part is type(None):
            kinds.add("none")
        elif typing.get_origin(part) is typing.Literal:
            kinds |= {_SIMPLE.get(type(choice), "none") for choice in typing.get_args(part)}
        else:
            part = typing.get_origin(part) or part
            if part not in _SIMPLE and part not in _ABSTRACT:
                return []
            kinds |= set(_ABSTRACT.get(part) or (_SIMPLE[part],))
    default = parameter.default
    if not kinds and type(default) in (bool, int, float, str):
        kinds = {_SIMPLE[type(default)]}
    if kinds and default is None:
        kinds.add("none")
    return sorted(kinds)


def _union(hint: object) -> tuple:
    if hint is None or hint is inspect.Parameter.empty:
        return ()
    return typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
