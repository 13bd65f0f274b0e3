"""Runs that are published: loss curves and fingerprints that nobody may hand in as their own.

    python -m recipe.published SUBMISSION… [--out golden/published]

writes one small file for each submission: curve, names, seed, hashes. The check `own` reads all of golden/loss (the
goldens that runs are held against) and golden/published, and the folder PUBLISHED=, say last year's submissions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lesson.config.summary import lookup
from lesson.core import cli
from lesson.core.files import read_json, write_json
from lesson.core.messages import UserError, tr
from lesson.core.refusals import Unreadable
from lesson.core.settings import ROOT
from lesson.submission.archive import open_view
from lesson.submission.evidence import Broken, Evidence
from lesson.submission.fingerprints import fingerprints

FOLDERS = (ROOT / "golden" / "loss", ROOT / "golden" / "published")
WINDOW = 10  # steps that mmengine's log averages
FEWEST = 8  # steps in common below which nothing is said
SAME_STEPS = 0.5  # share of equal losses, in full precision, that no two runs have by chance
SAME_LINES = 0.9  # … of equal lines of a log, which has four decimals of a mean
DECIMALS = 6e-5


@dataclass(frozen=True)
class Published:
    """One published run. None is what its file does not tell."""

    name: str
    curve: dict[int, float]  # step → loss, nats per token
    prints: dict[str, str] = field(default_factory=dict)  # adapter, log, answers → SHA-256
    data: str | None = None
    seed: int | None = None
    new: str | None = None


def load(folder: str | None = None) -> list[Published]:
    """All published runs, those in `folder` too. Raises UserError for a file that is none."""
    folders = [*FOLDERS, Path(folder)] if folder else FOLDERS
    if folder and not Path(folder).is_dir():
        raise UserError(
            folder, tr("not a folder", "不是目录"), tr("set PUBLISHED to a folder", "请把 PUBLISHED 设为目录")
        )
    return [_read(path) for there in folders for path in sorted(there.glob("*.json"))]


def _read(path: Path) -> Published:
    remedy = tr("python -m recipe.published writes such files", "可用 python -m recipe.published 生成")
    value = read_json(path, remedy)
    try:
        points = value["curve"] if "curve" in value else enumerate(value["losses"], 1)
        curve = {p["step"]: p["loss"] for p in points} if "curve" in value else dict(points)
        if not all(isinstance(x, int | float) or x is None for x in curve.values()):
            raise TypeError
        told = value.get("inputs", {}).get("data"), value.get("seed"), value.get("names", {}).get("new")
        return Published(path.stem, curve, value.get("fingerprints", {}), *told)
    except (LookupError, TypeError, AttributeError):
        raise UserError(path, tr("holds no loss curve", "里面没有损失曲线"), remedy) from None


def alike(known: Published, evidence: Evidence) -> Iterator[str]:
    """What of the submission equals the published run's: adapter, log, answers, loss."""
    for kind, digest in fingerprints(evidence).items():
        if known.prints.get(kind) == digest:
            yield kind
    exact: dict[int, float] = {}
    try:
        if "curve" in evidence.parts:
            exact = {point.step: point.loss for point in evidence.curve}
        elif "record" in evidence.parts:
            exact = {point["step"]: point["loss"] for point in evidence.record["curve"]}
    except Broken:
        pass  # its own check says so
    equal = [exact[step] == loss for step, loss in known.curve.items() if step in exact]
    if _mostly(equal, SAME_STEPS) or _mostly(_equal_lines(known, evidence), SAME_LINES):
        yield "loss"


def _mostly(equal: list[bool], share: float) -> bool:
    return len(equal) >= FEWEST and sum(equal) >= share * len(equal)


def _equal_lines(known: Published, evidence: Evidence) -> list[bool]:
    """For each line of the log, whether its loss is the mean of the published run's last WINDOW losses."""
    try:
        points = evidence.log if "log" in evidence.parts else []
    except Broken:
        return []
    equal = []
    for point in points:
        last = [known.curve.get(step) for step in range(max(1, point.step - WINDOW + 1), point.step + 1)]
        if None not in last:
            equal.append(math.isclose(point.loss, sum(last) / len(last), rel_tol=0, abs_tol=DECIMALS))
    return equal


def by_right(known: Published, evidence: Evidence) -> bool:
    """Whether rows, seed and name are the published run's: then an honest run may repeat it to the bit."""
    if known.data is None or not {"data", "config"} <= evidence.parts.keys():
        return False
    try:
        seed = lookup(evidence.config, "seed")[0]
    except Broken:
        return False
    told = (evidence.view.sha256(evidence.parts["data"]), seed, evidence.new_name)
    return told == (known.data, known.seed, known.new)


def document(evidence: Evidence) -> dict:
    """What is published of a submission. Raises Broken, KeyError when it lacks a part."""
    return {
        "format": 1,
        "names": evidence.record["names"],
        "seed": evidence.record["seed"],
        "inputs": evidence.record["inputs"],
        "fingerprints": {k: v for k, v in fingerprints(evidence).items() if k != "inputs"},
        "curve": [{"step": point["step"], "loss": point["loss"]} for point in evidence.record["curve"]],
    }


def publish(paths: list[str], out: Path) -> int:
    for path in paths:
        try:
            with open_view(path) as view:
                made = document(Evidence(view))
        except (Unreadable, Broken, KeyError) as error:
            raise UserError(
                path, str(error), tr("make check names what is missing", "make check 会指出缺少什么")
            ) from None
        target = out / f"{Path(path).stem}.json"
        write_json(target, made)
        print(tr(f"written: {target}", f"已写出：{target}"))
    return 0


def main(arguments: list[str] | None = None) -> int:
    def call() -> int:
        parser = cli.parser("published", __doc__, [])
        parser.add_argument("paths", nargs="+", metavar="SUBMISSION")
        parser.add_argument("--out", type=Path, default=FOLDERS[1])
        flags = parser.parse_args(arguments)
        cli.set_language(flags.LANG)
        return publish(flags.paths, flags.out)

    return cli.guarded(call)
