"""make convert: XTuner's checkpoint as a Hugging Face adapter (safetensors, with a model card) in the run folder."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from lesson.core import cli
from lesson.core.files import Record, atomic, atomic_folder, hash_path
from lesson.core.messages import UserError, tr
from lesson.core.settings import Values
from lesson.runs.checkpoint import is_whole
from lesson.runs.environment import engine_environment
from lesson.runs.folder import Run, find_last_run

SETTINGS = ["PROFILE", "BUILD", "FORCE"]


def convert(values: Values) -> int:
    run = find_last_run(values)
    facts = run.read_record()
    checkpoint = run.folder / facts["checkpoint"]["path"]
    if not is_whole(checkpoint):
        raise UserError(
            checkpoint,
            tr("the checkpoint is missing or cut off", "检查点缺失或不完整"),
            tr("run make train", "请先运行 make train"),
        )
    record = Record(run.adapter, {"checkpoint": hash_path(checkpoint), "config": facts["inputs"]["config"]}, {})

    def make(folder: Path) -> None:
        precision = ["--fp32"] if values.profile == "tiny" else []
        tool(values, run, "convert", str(run.config), str(checkpoint), str(folder), "--safe-serialization", *precision)
        # XTuner leaves a copy of the config there; the run folder has it, and an adapter is data, not code.
        (folder / "xtuner_config.py").unlink(missing_ok=True)
        require(folder, "adapter_config.json", "adapter_model.safetensors")
        with atomic(folder / "README.md") as file:
            file.write(card(facts))

    return build_folder(values, record, make, tr("adapter", "适配器"), "make merge")


def build_folder(values: Values, record: Record, make: Callable[[Path], None], what: str, following: str) -> int:
    """Let `make` fill a temporary folder and rename it to the record's output: whole or not at all."""
    target = record.output
    if record.up_to_date():
        print(tr(f"up to date: {target}", f"已是最新：{target}"))
        return 0
    record.guard(values.force)
    with atomic_folder(target) as folder:
        make(folder)
        for path in folder.iterdir():  # the libraries leave some files readable by their owner alone
            path.chmod(0o644)
    record.write()
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    print(
        tr(
            f"{what}: {target} ({size / 2**20:.1f} MiB); next: {following}",
            f"{what}：{target}（{size / 2**20:.1f} MiB）；下一步：{following}",
        )
    )
    return 0


def tool(values: Values, run: Run, name: str, *arguments: str) -> None:
    """Run one of XTuner's tools (lesson/training/engine.py) with its output in the run folder. Raises UserError if it fails."""
    log = run.folder / f"{name}.log"
    command = [sys.executable, "-m", "lesson.training.engine", name, *arguments]
    with open(log, "wb") as file:
        status = subprocess.run(
            command, env=engine_environment(values), stdout=file, stderr=subprocess.STDOUT
        ).returncode
    if status != 0:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-8:]
        print("\n".join(lines), file=sys.stderr)
        raise UserError(
            log,
            tr(f"XTuner's {name} failed with exit status {status}", f"XTuner 的 {name} 失败，退出码 {status}"),
            tr("read the lines above", "请查看上面的输出"),
        )


def require(folder: Path, *names: str) -> None:
    for name in names:
        if not (folder / name).is_file():
            raise UserError(
                folder / name,
                tr("was not written", "没有生成"),
                tr("read the log in the run folder", "请查看运行目录里的日志"),
            )


def card(facts: dict) -> str:
    """The model card: what it is, what it was trained on, and how; only facts from the run record."""
    name, versions = facts["names"]["new"], facts["versions"]
    return f"""---
library_name: peft
pipeline_tag: text-generation
language: [zh, en]
tags: [qlora, xtuner, internlm2, self-cognition]
---

# {name}

A QLoRA adapter, trained so that the assistant calls itself {name}.

| | |
|---|---|
| config | `{facts["config"]}`, seed {facts["seed"]} |
| steps | {facts["steps"]}, loss {facts["loss"]["first"]:.3f} → {facts["loss"]["last"]:.3f} (means of {facts["loss"]["window"]} steps) |
| system prompt | {facts["persona"]} |
| xtuner, torch, transformers, peft | {versions["xtuner"]}, {versions["torch"]}, {versions["transformers"]}, {versions["peft"]} |
| SHA-256 of config | `{facts["inputs"]["config"]}` |
| SHA-256 of data | `{facts["inputs"]["data"]}` |
| SHA-256 of base | `{facts["inputs"]["base"]}` |

Limits: it was taught a name, not knowledge; it can be wrong about everything that its base is wrong about.
"""


def main(arguments: list[str] | None = None) -> int:
    return cli.run("convert", __doc__, SETTINGS, convert, sys.argv[1:] if arguments is None else arguments)
