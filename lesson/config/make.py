"""Copy XTuner's stock config and make the lesson's edits; held against golden/.

Reads the installed stock config, profiles/ and the changed data (for its persona); writes
BUILD/config/<BASE_CONFIG>_copy.py. The stock config is copied as `xtuner copy-cfg` does, byte for byte, but without
importing XTuner, which takes ten seconds (a test compares the two). Nothing of the config is run.
"""

from __future__ import annotations

import difflib
import functools
import importlib.util
import json
import re
import sys
import tomllib
from fnmatch import fnmatchcase
from pathlib import Path

from lesson.config import diff as config_diff
from lesson.config import edits
from lesson.core import cli
from lesson.core.files import Record, atomic, readable, sha256
from lesson.core.messages import UserError, tr
from lesson.core.settings import ROOT, SETTINGS, TRAINING, Values
from lesson.data import rows

SETTINGS_USED = [
    "PROFILE",
    "SPEED",
    "BUILD",
    "BASE_CONFIG",
    "CONFIG",
    "SEED",
    "DETERMINISTIC",
    "FORCE",
    *(s.name for s in TRAINING),
]
PROFILES = ROOT / "profiles"
# The families that the lesson carries over to; every one of them is tried by tests/test_config.py.
SUPPORTED = ("internlm2*_qlora*_alpaca_*", "internlm3*_qlora*_alpaca_*", "qwen*_qlora*_alpaca_*")


def config_path(values: Values) -> Path:
    """Where `make config` writes: BUILD/config/<BASE_CONFIG>_copy.py, the name that `xtuner copy-cfg` gives."""
    return values.build / "config" / f"{values.base_config}_copy.py"


def model_dir(values: Values) -> Path:
    """The base model's folder as the config names it; the model stage makes it."""
    return values.build / "model"


def data_path(values: Values) -> Path:
    """The changed data as the config names it; the data stage makes it."""
    return rows.output_path(values.build)


# --- stock configs -----------------------------------------------------------------------------------------------------


@functools.cache
def stock_configs() -> dict[str, Path]:
    """All stock configs of the installed XTuner by name, as its `list-cfg` has them. Raises UserError without XTuner."""
    spec = importlib.util.find_spec("xtuner")
    if spec is None or not spec.submodule_search_locations:
        raise UserError("xtuner", tr("is not installed", "未安装"), tr("run make setup", "请运行 make setup"))
    root = Path(spec.submodule_search_locations[0]) / "configs"
    return {p.stem: p for p in sorted(root.rglob("*.py")) if not p.name.startswith((".", "_"))}


def supported(name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in SUPPORTED)


def stock_config(name: str) -> Path:
    """The file of the stock config `name`. Raises UserError with the names that come close."""
    known = stock_configs()
    if name in known:
        return known[name]
    ours = [n for n in known if supported(n)]
    close = difflib.get_close_matches(name, ours, 3, 0.5) or difflib.get_close_matches(name, known, 3, 0.3)
    raise UserError(
        f"BASE_CONFIG={name!r}",
        tr("XTuner has no such config", "XTuner 没有这个配置"),
        tr("did you mean ", "您是不是要 ") + ", ".join(close or ours[:3]),
    )


# --- profiles ----------------------------------------------------------------------------------------------------------


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


def parameters(values: Values) -> dict[str, object]:
    """The training parameters of this call: what the user set, else what the profile says; the unset are left out."""
    result = dict(load_profile(values.profile_file)["parameters"])
    for setting in TRAINING:
        given = setting.parse(values.text(setting.name))
        if given is not None:
            result[setting.name] = given
    return {s.name: result[s.name] for s in TRAINING if s.name in result}


def lesson_edits(profile: dict, config: str, given: dict[str, object]) -> list[edits.Edit]:
    """The profile's edits that apply to the stock config named `config`, with the values in `given` filled in."""
    names = next(n for n in profile["names"] if fnmatchcase(config, n["configs"]))
    result = []
    for edit in profile["edits"]:
        wanted = set(re.findall(r"\$\$?([A-Z][A-Z0-9_]*)", edit.get("value", ""))) | edit.get("when", {}).keys()
        if (
            wanted <= given.keys()
            and all(str(given[key]) in accepted for key, accepted in edit.get("when", {}).items())
            and _for_config(edit.get("configs", ["*"]), config)
        ):
            target, value = (_filled(edit.get(part, ""), names, given) for part in ("target", "value"))
            result.append(edits.Edit(edit["name"], target, value, edit.get("op", "set")))
    return result


def _for_config(globs: list[str], config: str) -> bool:
    excluded = [g[1:] for g in globs if g.startswith("!")]
    included = [g for g in globs if not g.startswith("!")] or ["*"]
    return any(fnmatchcase(config, g) for g in included) and not any(fnmatchcase(config, g) for g in excluded)


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


def patched(name: str, source: str, profile: dict, given: dict[str, object]) -> str:
    """The stock config `source` called `name` with the profile's edits. Raises UserError naming an edit that fails."""
    return edits.apply(source, lesson_edits(profile, name, given), name)


# --- the stage ---------------------------------------------------------------------------------------------------------


def lesson_values(values: Values) -> dict[str, object]:
    """What the recipe itself gives to the edits: paths (as written in the config), persona and seed."""
    return {
        "MODEL_DIR": model_dir(values).as_posix(),
        "DATA_FILE": data_path(values).as_posix(),
        "PERSONA": rows.persona(data_path(values)),
        "SEED": values.seed,
        "DETERMINISTIC": values.deterministic,
    }


def config(values: Values) -> int:
    """The stage: write the patched config and its record, or say that it is up to date."""
    if values.config:
        print(
            tr(f"CONFIG={values.config}: your own config, nothing to make", f"CONFIG={values.config}：使用您自己的配置")
        )
        return 0
    name, output, profile = values.base_config, config_path(values), load_profile(values.profile_file)
    if values.speed == "fast" and values.profile == "7b" and not name.startswith("internlm2_"):
        raise UserError(
            f"SPEED=fast BASE_CONFIG={name}",
            tr("lesson/training/fast.py computes InternLM2 only", "lesson/training/fast.py 只支持 InternLM2"),
            tr("use SPEED=stock", "请用 SPEED=stock"),
        )
    stock, given = stock_config(name), parameters(values)
    source = stock.read_text(encoding="utf-8")
    result = patched(name, source, profile, given | lesson_values(values))
    record = Record(
        output,
        {
            "stock": sha256(stock),
            "data": sha256(data_path(values)),
            **{p.relative_to(ROOT).as_posix(): sha256(p) for p in profile["files"]},
        },
        {"BASE_CONFIG": name, "PROFILE": values.profile_file, "SEED": values.seed, **_plain(given)},
    )
    differences = config_diff.changes(source, result)
    for headline in _moved(name, source, values.profile_file):
        print(
            tr(
                f"warning: not the stock config that golden/ knows: {headline}",
                f"警告：自带配置与 golden/ 不同：{headline}",
            )
        )
    if record.up_to_date() and output.read_text(encoding="utf-8") == result:
        print(tr(f"up to date: {output}", f"已是最新：{output}"))
        return 0
    _guard(record, values.force)
    with atomic(output) as file:
        file.write(result)
    record.write(stock_ast=config_diff.ast_hash(source), changes=[c.headline() for c in differences])
    print(tr(f"{name}: {len(differences)} changes", f"{name}：{len(differences)} 处修改"))
    for change in differences:
        print("  " + change.headline())
    print(tr(f"written: {output}", f"已写入：{output}"))
    return 0


def _moved(name: str, source: str, profile: str) -> list[str]:
    from lesson.config import golden  # here, because golden is made by this module

    return golden.moved(name, source, profile)


def _guard(record: Record, force: bool) -> None:
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


def _plain(given: dict[str, object]) -> dict[str, object]:
    """`given` as JSON gives it back, so that a stored record compares equal."""
    return json.loads(json.dumps(given))


def main(arguments: list[str] | None = None) -> int:
    return cli.run("config", __doc__, SETTINGS_USED, config, sys.argv[1:] if arguments is None else arguments)
