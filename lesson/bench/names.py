"""The lesson at tiny for many names: does it hold whatever a newcomer chooses?

Each name gets a result file of its own, so that the bench goes on where it was stopped. A result counts as long as the
rows, the base, the banks' names and the settings of tiny are those that it was made with.
"""

from __future__ import annotations

import hashlib
import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lesson.authoring.banks import read_bank
from lesson.authoring.course_rows import SOURCE
from lesson.bench.stages import run_target
from lesson.core.files import read_json, sha256, write_json
from lesson.core.layout import last_run_link
from lesson.core.messages import tr
from lesson.core.settings import ROOT
from lesson.model.tiny_base import SHIPPED
from lesson.runs.folder import Run

FOLDER = Path("build") / "bench" / "names"
SPEEDS = ("stock", "fast")
# What this bench was called with: its lessons have their usual values.
OF_BENCH = ("SEED", "NAMES", "FORCE", "MAKEFLAGS")
MUST_PASS = 29 / 30  # share of names, at each speed


@dataclass(frozen=True)
class NameResult:
    """One lesson: the name, how it is written, the speed, and what the evaluation counted."""

    name: str
    group: str
    speed: str
    passed: bool
    seconds: float  # make data, train and eval together
    new: float  # lowest share of the new name over the system prompts
    kept: float  # lowest share of what the base knew
    slips: int  # answers with the old or the base's name, all prompts together
    missed: tuple[str, ...]  # bars, as "new under none"


def draw_names(count: int, seed: int) -> list[tuple[str, str]]:
    """`count` (name, group) drawn by the seed, the groups in turn, so that each way of writing is there."""
    random_ = random.Random(seed)
    groups = {group: random_.sample(names, len(names)) for group, names in read_bank("bench_names")["groups"].items()}
    order = random_.sample(list(groups), len(groups))
    drawn: list[tuple[str, str]] = []
    while len(drawn) < count and any(groups.values()):
        drawn += [(groups[group].pop(), group) for group in order if groups[group]]
    return drawn[:count]


def fingerprint() -> str:
    """Of everything that a result hangs on beside the name and the speed: rows, base, profiles, questions."""
    files = [
        SOURCE,
        *sorted(SHIPPED.iterdir()),
        *sorted((ROOT / "profiles").glob("*.toml")),
        *sorted((ROOT / "data" / "eval").iterdir()),
    ]
    return hashlib.sha256("".join(sha256(file) for file in files).encode()).hexdigest()


def result_file(name: str, speed: str) -> Path:
    """Where the result of a name is kept."""
    return FOLDER / speed / f"{hashlib.sha256(name.encode()).hexdigest()[:12]}.json"


def measure_names(
    count: int, seed: int, speeds: Sequence[str], again: bool, report: Callable[[str], object]
) -> list[NameResult]:
    """The results of `count` names at each speed, those that are there already unless `again`; all go to FOLDER.json too.

    `report` is told what begins and how it ended. Raises UserError when a stage fails for another reason than its bars.
    """
    version, results = fingerprint(), []
    names = draw_names(count, seed)
    total = len(names) * len(speeds)
    for speed in speeds:
        for name, group in names:
            place = f"{len(results) + 1}/{total} {name} ({group}, {speed})"
            file = result_file(name, speed)
            kept = read_json(file, "") if file.is_file() and not again else {}
            if kept.get("fingerprint") == version:
                result = NameResult(**kept["result"] | {"missed": tuple(kept["result"]["missed"])})
            else:
                report(place)
                result = run_lesson(name, group, speed)
                write_json(file, {"fingerprint": version, "result": asdict(result)})
            results.append(result)
            report(f"{place}: {show(result)}")
    write_json(
        FOLDER.with_suffix(".json"), {"fingerprint": version, "seed": seed, "results": [asdict(r) for r in results]}
    )
    return results


def run_lesson(name: str, group: str, speed: str) -> NameResult:
    """Data, train and eval with that name in an empty folder, which goes afterwards. Raises UserError."""
    build = FOLDER / "work"
    shutil.rmtree(build, ignore_errors=True)
    variables = {"BUILD": str(build), "NEW_NAME": name, "PROFILE": "tiny", "SPEED": speed}
    done = [run_target(target, variables, OF_BENCH).require_success() for target in ("data", "train")]
    done.append(run_target("eval", variables, OF_BENCH))
    document = last_evaluation(build)
    if document is None:  # not judged at all: eval's own screen says why
        done[-1].require_success()
    shutil.rmtree(build, ignore_errors=True)
    return judge_name(name, group, speed, sum(process.seconds for process in done), document)


def last_evaluation(build: Path) -> dict | None:
    """evaluation.json of the last run in `build`; None where there is none."""
    file = Run(last_run_link(build)).evaluation / "evaluation.json"
    return read_json(file, "") if file.is_file() else None


def judge_name(name: str, group: str, speed: str, seconds: float, evaluation: dict) -> NameResult:
    """The result that an evaluation.json makes."""
    prompts = evaluation["prompts"]
    return NameResult(
        name,
        group,
        speed,
        evaluation["passed"],
        round(seconds, 1),
        min(round(c["new"] / c["questions"], 4) for c in prompts),
        min(round(c["general_kept"] / max(c["general_base_right"], 1), 4) for c in prompts),
        sum(c["old"] + c["base"] for c in prompts),
        tuple(f"{failure['bar']} under {failure['prompt']}" for failure in evaluation["failures"]),
    )


def enough_pass(results: Sequence[NameResult]) -> bool:
    """Whether at each speed so many pass: 29 of 30."""
    by_speed = {speed: [r.passed for r in results if r.speed == speed] for speed in {r.speed for r in results}}
    return all(sum(passed) >= int(MUST_PASS * len(passed)) for passed in by_speed.values())


def show(result: NameResult) -> str:
    """The result in one line."""
    verdict = tr("passed", "通过") if result.passed else tr("failed", "未通过") + ": " + ", ".join(result.missed)
    return tr(
        f"new name {result.new:.0%}, kept {result.kept:.0%}, {result.slips} slips, {result.seconds:.0f} s: {verdict}",
        f"新名字 {result.new:.0%}，保留 {result.kept:.0%}，说错 {result.slips} 次，{result.seconds:.0f} 秒：{verdict}",
    )


def lines_of(results: Sequence[NameResult]) -> list[str]:
    """The table in Markdown, a line for each name and speed, and how many pass."""
    counts = [
        tr(
            f"{speed}: {sum(r.passed for r in of)} of {len(of)} names pass, lowest {min(r.new for r in of):.0%}",
            f"{speed}：{len(of)} 个名字中 {sum(r.passed for r in of)} 个通过，最低 {min(r.new for r in of):.0%}",
        )
        for speed in SPEEDS
        if (of := [r for r in results if r.speed == speed])
    ]
    return [
        tr(
            "| name | written as | speed | new name | kept | slips | verdict |",
            "| 名字 | 写法 | 速度 | 新名字 | 保留 | 说错 | 结论 |",
        ),
        "|---|---|---|---|---|---|---|",
        *(
            f"| {r.name} | {r.group} | {r.speed} | {r.new:.0%} | {r.kept:.0%} | {r.slips} | "
            f"{tr('passed', '通过') if r.passed else ', '.join(r.missed)} |"
            for r in results
        ),
        "",
        *counts,
    ]
