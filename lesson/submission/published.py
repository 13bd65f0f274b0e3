"""Runs that are published: loss curves and fingerprints that nobody may hand in as their own.

One small file for each: curve, names, seed, hashes. The check `own` reads all of golden/loss (the goldens that runs are
held against) and golden/published, and the folder PUBLISHED=, say last year's submissions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lesson.core.files import read_json, write_json
from lesson.core.messages import UserError, tr
from lesson.core.refusals import Broken, Unreadable
from lesson.core.settings import ROOT
from lesson.submission.archive.opening import open_view
from lesson.submission.evidence import Evidence
from lesson.submission.likeness import sketch_submission

FOLDERS = (ROOT / "golden" / "loss", ROOT / "golden" / "published")


@dataclass(frozen=True)
class PublishedRun:
    """One published run. None is what its file does not tell."""

    name: str
    curve: dict[int, float]  # step → loss, nats per token
    fingerprints: dict[str, str] = field(default_factory=dict)  # adapter, log, answers → SHA-256
    data: str | None = None
    seed: int | None = None
    new: str | None = None
    sketch: dict = field(default_factory=dict)  # likeness.py; empty in files of before


def load_published(folder: str | None = None) -> list[PublishedRun]:
    """All published runs, those in `folder` too. Raises UserError for a file that is none."""
    folders = [*FOLDERS, Path(folder)] if folder else FOLDERS
    if folder and not Path(folder).is_dir():
        raise UserError(
            folder, tr("not a folder", "不是目录"), tr("set PUBLISHED to a folder", "请把 PUBLISHED 设为目录")
        )
    return [read_published(path) for folder in folders for path in sorted(folder.glob("*.json"))]


def read_published(path: Path) -> PublishedRun:
    """The published run in one file. Raises UserError for a file that is none."""
    remedy = tr(
        ".venv/bin/python -m recipe.published SUBMISSION writes such files",
        "可用 .venv/bin/python -m recipe.published SUBMISSION 生成",
    )
    value = read_json(path, remedy)
    try:
        points = value["curve"] if "curve" in value else enumerate(value["losses"], 1)
        curve = {p["step"]: p["loss"] for p in points} if "curve" in value else dict(points)
        if not all(isinstance(x, int | float) or x is None for x in curve.values()):
            raise TypeError
        data, new = value.get("inputs", {}).get("data"), value.get("names", {}).get("new")
        sketch = value.get("sketch", {})
        return PublishedRun(path.stem, curve, value.get("fingerprints", {}), data, value.get("seed"), new, sketch)
    except (LookupError, TypeError, AttributeError):
        raise UserError(path, tr("holds no loss curve", "里面没有损失曲线"), remedy) from None


def publishable(evidence: Evidence) -> dict:
    """What is published of a submission. Raises Broken, KeyError when it lacks a part."""
    return {
        "format": 1,
        "names": evidence.record["names"],
        "seed": evidence.record["seed"],
        "inputs": evidence.record["inputs"],
        "fingerprints": {k: v for k, v in evidence.fingerprints.items() if k != "inputs"},
        "sketch": sketch_submission(evidence),
        "curve": [{"step": point["step"], "loss": point["loss"]} for point in evidence.record["curve"]],
    }


def publish(paths: list[str], out: Path) -> Iterator[Path]:
    """Write a file for each submission into the folder `out`, and give back each as it is there. Raises UserError."""
    for path in paths:
        try:
            with open_view(path) as view:
                content = publishable(Evidence(view))
        except (Unreadable, Broken, KeyError) as error:
            raise UserError(
                path, str(error), tr("make check names what is missing", "make check 会指出缺少什么")
            ) from None
        target = out / f"{Path(path).stem}.json"
        write_json(target, content)
        yield target
