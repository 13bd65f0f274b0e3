"""Profiles: files of values and named edits that turn a stock config into the lesson's."""

from __future__ import annotations

import functools
import json
import re
import tomllib
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from lesson.config import edits
from lesson.core.files import readable
from lesson.core.machine import multiplies_bfloat16
from lesson.core.messages import UserError, tr
from lesson.core.settings import ROOT, SETTINGS, TRAINING, Values

PROFILES = ROOT / "profiles"
EIGHT_BITS = ("fp8", "int8")  # those of BASE_DTYPE that round the base
FAST = ("internlm2_*", "qwen1_5_*", "llama3_*")  # stock configs of the bases that lesson/training/fast.py computes


@functools.cache
def load_profile(name: str) -> dict:
    """The profile with what it includes: {"names": [...], "parameters": {NAME: value}, "edits": [...], "files": [...]}.

    `name` is a file's stem in profiles/. Parameters are checked as if a user had set them. Raises UserError.
    """
    path = readable(PROFILES / f"{name}.toml", tr("restore profiles/ from git", "请从 git 恢复 profiles/"))
    mend = tr("see schemas/profile.schema.json", "请参照 schemas/profile.schema.json")
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(path, f"TOML: {error}", mend) from None
    import jsonschema  # here, because the import takes a tenth of a second that other stages need not pay

    schema = json.loads((ROOT / "schemas" / "profile.schema.json").read_text(encoding="utf-8"))
    problem = jsonschema.exceptions.best_match(jsonschema.Draft7Validator(schema).iter_errors(document))
    if problem:
        raise UserError(f"{path} {problem.json_path}", problem.message, mend)
    base = load_profile(Path(document["include"]).stem) if "include" in document else {}
    return {
        "names": [*base.get("names", []), *document.get("names", [])],
        "parameters": base.get("parameters", {})
        | {key: SETTINGS[key].parse(str(value)) for key, value in document.get("parameters", {}).items()},
        "edits": [*base.get("edits", []), *document.get("edit", [])],
        "files": [*base.get("files", []), path],
    }


def computes_fast(config: str) -> bool:
    """Whether SPEED=fast at 7b computes what the stock config called `config` trains."""
    return _fits(FAST, config)


def training_parameters(values: Values) -> dict[str, object]:
    """The training parameters of this call: what the user set, else what the profile says; the unset are left out."""
    result = dict(load_profile(values.profile_file)["parameters"])
    if values.profile == "small" and not multiplies_bfloat16():
        result["DTYPE"] = "float32"
    for setting in TRAINING:
        given = setting.parse(values.text(setting.name))
        if given is not None:
            result[setting.name] = given
    return {s.name: result[s.name] for s in TRAINING if s.name in result}


def names_in_edits(profile: dict) -> set[str]:
    """The variables that some edit of the profile takes."""
    return set().union(*(_names_in(edit) for edit in profile["edits"]))


def _names_in(edit: dict) -> set[str]:
    return set(re.findall(r"\$\$?([A-Z][A-Z0-9_]*)", edit.get("value", ""))) | edit.get("when", {}).keys()


def lesson_edits(profile: dict, config: str, given: dict[str, object]) -> list[edits.Edit]:
    """The profile's edits that apply to the stock config named `config`, with the values in `given` filled in."""
    names = next(n for n in profile["names"] if fnmatchcase(config, n["configs"]))
    result = []
    for edit in profile["edits"]:
        if (
            _names_in(edit) <= given.keys()
            and all(_fits(accepted, str(given[key])) for key, accepted in edit.get("when", {}).items())
            and _fits(edit.get("configs", ["*"]), config)
        ):
            target, value = (_filled(edit.get(part, ""), names, given) for part in ("target", "value"))
            result.append(edits.Edit(edit["name"], target, value, edit.get("op", "set")))
    return result


def _fits(globs: Sequence[str], text: str) -> bool:
    """Whether `text` (a config's name, a value) is one of `globs` and none of those behind a "!"."""
    excluded = [g[1:] for g in globs if g.startswith("!")]
    included = [g for g in globs if not g.startswith("!")] or ["*"]
    return any(fnmatchcase(text, g) for g in included) and not any(fnmatchcase(text, g) for g in excluded)


def _filled(text: str, names: dict[str, str], given: dict[str, object]) -> str:
    """`text` with $NAME as a Python constant, $$NAME as bare text, $data and $path as the config's own names.

    One pass, so that a `$` inside a value (a persona that speaks of money) stays what it is.
    """

    def fill(match: re.Match) -> str:
        bare, key = match.groups()
        if key in names:
            return names[key]
        return str(given[key]) if bare else repr(given[key])

    return re.sub(r"\$(\$?)([A-Za-z][A-Za-z0-9_]*)", fill, text)


def patch_config(name: str, source: str, profile: dict, given: dict[str, object]) -> str:
    """The stock config `source` called `name` with the profile's edits. Raises UserError naming an edit that fails."""
    return edits.apply_edits(source, lesson_edits(profile, name, given), name)
