"""make submission: a finished run packed to be handed in, with its verdict and every file that goes in.

The same run gives the same bytes. The log goes in as an excerpt: XTuner's own log tells the whole machine.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

from lesson.config.summary import summary_of
from lesson.core.files import atomic, readable, replace_folder, sha256, temporary_folder, write_json
from lesson.core.layout import submission_archive
from lesson.core.messages import UserError, tr
from lesson.core.settings import Values
from lesson.runs.chosen import find_chosen_run
from lesson.runs.curve import CURVE
from lesson.runs.folder import Run
from lesson.submission.archive.view import LARGEST
from lesson.submission.parts import MANIFEST, PARTS
from lesson.submission.reports.terminal import verdict_lines
from lesson.submission.scoring import load_rubric
from lesson.submission.staff import read_staff_inputs
from lesson.submission.training_log import KEPT
from lesson.submission.verdict import judge_submission


def pack_submission(values: Values, report: Callable[[str], None]) -> tuple[dict, Path]:
    """(verdict, where it lies) of the last run, packed to OUT as a zip or a folder.

    `report` is called with each line about what goes in, before it is packed. Raises UserError for a run that lacks
    a part or is too large, and for an OUT that is something else.
    """
    who, run = values.name, find_chosen_run(values)
    out = Path(values.text("OUT") or submission_archive(values.build))
    if out.suffix != ".zip" and out.exists() and not (out / MANIFEST).is_file():
        raise UserError(
            out,
            tr("is there and is no submission", "已存在，且不是提交目录"),
            tr("choose another OUT", "请换一个 OUT"),
        )
    with temporary_folder(out) as scratch:
        folder = scratch / "submission"
        record = collect_parts(run, folder)
        manifest = make_manifest(who, record, run, folder)
        write_json(folder / MANIFEST, manifest)
        total = sum(entry["bytes"] for entry in manifest["files"])
        if total > LARGEST:
            raise UserError(
                run.folder,
                tr(
                    f"{total >> 20} MiB, at most {LARGEST >> 20} can be handed in",
                    f"{total >> 20} MiB，最多 {LARGEST >> 20}",
                ),
                tr("convert the adapter in 16 bits", "请用 16 位转换适配器"),
            )
        rubric = load_rubric(values.text("RUBRIC") or None)
        verdict = judge_submission(folder, rubric, read_staff_inputs(values))
        verdict["submission"] = str(out)
        for line in [*verdict_lines(verdict), *content_lines(manifest, record, folder)]:
            report(line)
        write_package(folder, out)
    return verdict, out


def collect_parts(run: Run, folder: Path) -> dict:
    """Copy the run's parts under the names of a submission; returns the run record."""
    record = run.read_record()
    convert, evaluate = tr("run make convert", "请先运行 make convert"), tr("run make eval", "请先运行 make eval")
    sources = {
        "config": (run.config, ""),
        "data": (run.data, ""),
        "record": (run.record, ""),
        "curve": (run.work_dir / CURVE, ""),
        "adapter_config": (run.adapter / "adapter_config.json", convert),
        "adapter": (run.adapter / "adapter_model.safetensors", convert),
        "card": (run.adapter / "README.md", convert),
        "answers": (run.evaluation / "answers.jsonl", evaluate),
        "evaluation": (run.evaluation / "evaluation.json", evaluate),
    }
    for part, (source, remedy) in sources.items():
        source = readable(source, remedy or tr("run make train", "请先运行 make train"))
        target = folder / PARTS[part][0]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    logs = sorted(run.work_dir.glob("*/*.log"))
    with atomic(folder / PARTS["log"][0]) as file:
        for path in logs:
            with open(path, encoding="utf-8", errors="replace") as log:
                file.writelines(line for line in log if KEPT.search(line))
    with atomic(folder / PARTS["scalars"][0]) as file:
        for path in sorted(run.work_dir.glob("*/vis_data/scalars.json")):
            file.write(path.read_text(encoding="utf-8"))
    return record


def make_manifest(who: str, record: dict, run: Run, folder: Path) -> dict:
    """submission.json: schemas/submission.schema.json."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        "format": 1,
        "who": who,
        "names": record["names"],
        "profile": record["profile"],
        "base": summary_of(run.config)["model_path"],
        "run": record["id"],
        "versions": record["versions"],
        "files": [
            {"path": path.relative_to(folder).as_posix(), "bytes": path.stat().st_size, "sha256": sha256(path)}
            for path in files
        ],
    }


def content_lines(manifest: dict, record: dict, folder: Path) -> list[str]:
    """Everything that is handed in, by name, and what it tells of the learner's machine."""
    lines = [tr("handed in:", "提交内容：")]
    lines += [f"  {entry['bytes']:>12}  {entry['path']}" for entry in manifest["files"]]
    size = (folder / MANIFEST).stat().st_size
    lines.append(f"  {size:>12}  {MANIFEST} ({manifest['who']})")
    machine = json.dumps(record["machine"], ensure_ascii=False)
    lines.append(tr("of your machine it tells: ", "其中关于你机器的信息：") + machine)
    paths = f"{manifest['base']}, {summary_of(folder / 'config.py')['data_file']}"
    return [*lines, tr("and these paths: ", "以及路径：") + paths]


def write_package(folder: Path, out: Path) -> None:
    """Move the folder to OUT, or pack it: sorted names, no times, so that equal input gives equal bytes."""
    if out.suffix != ".zip":
        replace_folder(folder, out)
        return
    with atomic(out, "wb") as file, zipfile.ZipFile(file, "w") as archive:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            info = zipfile.ZipInfo("submission/" + path.relative_to(folder).as_posix(), (1980, 1, 1, 0, 0, 0))
            info.external_attr = 0o100644 << 16
            # Trained weights do not shrink; text does.
            info.compress_type = zipfile.ZIP_STORED if path.suffix == ".safetensors" else zipfile.ZIP_DEFLATED
            with open(path, "rb") as source, archive.open(info, "w") as target:
                shutil.copyfileobj(source, target, 1 << 20)
