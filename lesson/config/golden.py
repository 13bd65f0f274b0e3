"""What golden/ holds of configs and data, one function for each kind; how it differs from the files there."""

from __future__ import annotations

import difflib
import io
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from lesson.config import diff as config_diff
from lesson.config.drift import GOLDEN, patch_by_default, profiles_of
from lesson.config.stock import is_supported, stock_configs
from lesson.core import layout
from lesson.core.files import atomic
from lesson.core.messages import UserError, tr
from lesson.core.records import record_path
from lesson.core.settings import ROOT, Values
from lesson.data.prepare import prepare_rows


def golden_configs() -> dict[str, str]:
    """configs/PROFILE/NAME.py, the patched config normalised, and configs/stock.json: of each stock config its hash by
    syntax tree and a headline for each changed statement (which keeps the stock values that are edited away)."""
    files, stock = {}, {}
    for name, path in stock_configs().items():
        if not is_supported(name):
            continue
        source = path.read_text(encoding="utf-8")
        entry = stock[name] = {"ast_sha256": config_diff.ast_hash(source), "changes": {}}
        for profile in profiles_of(name):
            result = patch_by_default(name, source, profile)
            files[f"configs/{profile}/{name}.py"] = config_diff.normalise_source(result)
            entry["changes"][profile] = [c.headline() for c in config_diff.list_changes(source, result)]
    files["configs/stock.json"] = json.dumps(stock, ensure_ascii=False, indent=1) + "\n"
    return files


def golden_data() -> dict[str, str]:
    """data/changed.json: the record that `make data` writes for the shipped rows with no variable set: hashes of source
    and result, counts."""
    with tempfile.TemporaryDirectory() as build:
        values = Values({"PROFILE": "tiny", "BUILD": build, "SRC": str(ROOT / "data" / "assistant_Tuner.jsonl")}, {})
        prepare_rows(values, problems=io.StringIO())
        record = record_path(layout.changed_rows(Path(build))).read_text(encoding="utf-8")
    return {"data/changed.json": record}


KINDS: dict[str, Callable[[], dict[str, str]]] = {"configs": golden_configs, "data": golden_data}


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
                headlines = [c.headline() for c in config_diff.list_changes(old, text)]
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


def write_golden(kind: str) -> int:
    """Bring the files of `kind` in golden/ up to date; gives back how many there are."""
    files = KINDS[kind]()
    for name, text in files.items():
        if not (GOLDEN / name).is_file() or (GOLDEN / name).read_text(encoding="utf-8") != text:
            with atomic(GOLDEN / name) as file:
                file.write(text)
    for path in _left_over(kind, files):
        path.unlink()
    return len(files)


def known_kinds(kinds: list[str]) -> list[str]:
    """`kinds`, or all of them where none is named. Raises UserError for one that there is not."""
    for kind in kinds:
        if kind not in KINDS:
            remedy = tr("use one of ", "可用：") + ", ".join(KINDS)
            raise UserError(f"KIND={kind!r}", tr("no such kind of golden", "没有这种 golden"), remedy)
    return kinds or list(KINDS)
