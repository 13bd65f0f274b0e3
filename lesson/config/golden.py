"""Write golden/ anew, or say what differs from it: what runs are held against, one function for each kind.

    python -m recipe.golden [KIND…] [--check]

A kind is a function that gives the files it stands for as {path below golden/: text}; `--check` writes nothing and
exits with 1 when a file differs.
"""

from __future__ import annotations

import contextlib
import difflib
import io
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from lesson.config import diff as config_diff
from lesson.config import make as config
from lesson.core import cli
from lesson.core.files import atomic, record_path
from lesson.core.messages import UserError, tr
from lesson.core.settings import ROOT, Values
from lesson.data import prepare as data

GOLDEN = ROOT / "golden"
# Configs that have a golden at `tiny`: the base that ships is an InternLM2, so the lesson's two.
TINY = ("internlm2_5_chat_7b_qlora_alpaca_e3", "internlm2_chat_7b_qlora_alpaca_e3")
PERSONA = "PERSONA"  # stands for the data's persona, which a config is not responsible for


def config_values(profile: str) -> dict[str, object]:
    """What `make config` gives to the edits with no variable set: default paths and seed, and the stand-in persona."""
    values = Values({"PROFILE": profile.removesuffix("_fast")}, environment={})
    given = dict(config.load_profile(profile)["parameters"])
    return given | {
        "MODEL_DIR": config.model_dir(values).as_posix(),
        "DATA_FILE": config.data_path(values).as_posix(),
        "PERSONA": PERSONA,
        "SEED": values.seed,
        "DETERMINISTIC": values.deterministic,
    }


def patched(name: str, source: str, profile: str) -> str:
    """The stock config `source` called `name` as `make config PROFILE=…` makes it with no variable set."""
    return config.patched(name, source, config.load_profile(profile), config_values(profile))


def profiles_of(name: str) -> list[str]:
    """The files in profiles/ that apply to the stock config `name`."""
    fast = ["7b_fast"] if name.startswith("internlm2_") else []
    return ["7b", *fast, *(["tiny", "tiny_fast"] if name in TINY else [])]


def configs() -> dict[str, str]:
    """configs/PROFILE/NAME.py, the patched config normalised, and configs/stock.json: of each stock config its hash by
    syntax tree and a headline for each changed statement (which keeps the stock values that are edited away)."""
    files, stock = {}, {}
    for name, path in config.stock_configs().items():
        if not config.supported(name):
            continue
        source = path.read_text(encoding="utf-8")
        entry = stock[name] = {"ast_sha256": config_diff.ast_hash(source), "changes": {}}
        for profile in profiles_of(name):
            result = patched(name, source, profile)
            files[f"configs/{profile}/{name}.py"] = config_diff.normalised(result)
            entry["changes"][profile] = [c.headline() for c in config_diff.changes(source, result)]
    files["configs/stock.json"] = json.dumps(stock, ensure_ascii=False, indent=1) + "\n"
    return files


def moved(name: str, source: str, profile: str) -> list[str]:
    """Headlines of what differs between the stock config `source` and the one that golden/ was made from; [] if equal.

    Also [] where golden/ does not have the config. Changed statements that the edits leave alone show in the patched
    result; those that they replace show in the headlines.
    """
    known = json.loads((GOLDEN / "configs" / "stock.json").read_text(encoding="utf-8")).get(name)
    if known is None or known["ast_sha256"] == config_diff.ast_hash(source):
        return []
    profile = profile if profile in known["changes"] else "7b"
    golden = (GOLDEN / "configs" / profile / f"{name}.py").read_text(encoding="utf-8")
    result = patched(name, source, profile)
    headlines = [c.headline() for c in config_diff.changes(source, result)]
    before_and_after = difflib.ndiff(known["changes"][profile], headlines)
    return [c.headline() for c in config_diff.changes(golden, result)] + [
        line for line in before_and_after if line.startswith(("- ", "+ "))
    ]


def changed_rows() -> dict[str, str]:
    """data/changed.json: the record that `make data` writes for the shipped rows with no variable set: hashes of source
    and result, counts."""
    with tempfile.TemporaryDirectory() as build, contextlib.redirect_stdout(io.StringIO()):
        data.stage(Values({"PROFILE": "tiny", "BUILD": build, "SRC": str(ROOT / "data" / "assistant_Tuner.jsonl")}, {}))
        record = record_path(data.output_path(Path(build))).read_text(encoding="utf-8")
    return {"data/changed.json": record}


KINDS: dict[str, Callable[[], dict[str, str]]] = {"configs": configs, "data": changed_rows}


def differences(kind: str) -> Iterator[str]:
    """One text for each file of `kind` that is missing, left over or different in golden/."""
    files = KINDS[kind]()
    for name, text in files.items():
        path = GOLDEN / name
        old = path.read_text(encoding="utf-8") if path.is_file() else None
        if old is None:
            yield tr(f"missing: {path}", f"缺少：{path}")
        elif old != text:
            if name.endswith(".py"):
                headlines = [c.headline() for c in config_diff.changes(old, text)]
            else:
                lines = difflib.unified_diff(old.splitlines(), text.splitlines(), name, name, n=0, lineterm="")
                headlines = list(lines)[:40]
            yield "\n  ".join([tr(f"differs: {path}", f"不同：{path}"), *headlines])
    for path in _left_over(kind, files):
        yield tr(f"left over: {path}", f"多余：{path}")


def _left_over(kind: str, files: dict[str, str]) -> list[Path]:
    return [
        p for p in sorted((GOLDEN / kind).rglob("*")) if p.is_file() and p.relative_to(GOLDEN).as_posix() not in files
    ]


def golden(kinds: list[str], check: bool) -> int:
    status = 0
    for kind in kinds or KINDS:
        found = list(differences(kind))
        print(*found, sep="\n", end="\n" if found else "")
        if check:
            status = 1 if found else status
            continue
        files = KINDS[kind]()
        for name, text in files.items():
            if not (GOLDEN / name).is_file() or (GOLDEN / name).read_text(encoding="utf-8") != text:
                with atomic(GOLDEN / name) as file:
                    file.write(text)
        for path in _left_over(kind, files):
            path.unlink()
        print(
            tr(f"{kind}: {len(files)} files, {len(found)} changed", f"{kind}：{len(files)} 个文件，{len(found)} 个变化")
        )
    return status


def main(arguments: list[str] | None = None) -> int:
    def call() -> int:
        parser = cli.parser("golden", __doc__, [])
        parser.add_argument("kinds", nargs="*", metavar="KIND", help=", ".join(KINDS))
        parser.add_argument("--check", action="store_true", help=tr("write nothing", "不写入"))
        flags = parser.parse_args(arguments)
        cli.set_language(flags.LANG)
        for kind in flags.kinds:
            if kind not in KINDS:
                remedy = tr("use one of ", "可用：") + ", ".join(KINDS)
                raise UserError(f"KIND={kind!r}", tr("no such kind of golden", "没有这种 golden"), remedy)
        return golden(flags.kinds, flags.check)

    return cli.guarded(call)
