"""XTuner's checkpoint as a Hugging Face adapter (safetensors, with a model card) in the run folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lesson.config.summary import summary_of
from lesson.core.files import atomic, hash_path, read_json, write_json
from lesson.core.messages import UserError, tr
from lesson.core.records import Record
from lesson.core.settings import Values
from lesson.runs.base import find_run_base
from lesson.runs.checkpoint import is_whole
from lesson.runs.chosen import find_chosen_run
from lesson.runs.folder import Run, remove_left_parts
from lesson.training.xtuner_tools import MadeFolder, describe_folder, make_folder, require_files, run_xtuner_tool


def convert_checkpoint(values: Values) -> MadeFolder:
    """Convert the last checkpoint of the run trained last. Raises UserError when there is none or XTuner's tool fails."""
    remove_left_parts(values.build)
    run = find_chosen_run(values)
    run_record = run.read_record()
    checkpoint = run.folder / run_record["checkpoint"]["path"]
    if not is_whole(checkpoint):
        raise UserError(
            checkpoint,
            tr("the checkpoint is missing or cut off", "检查点缺失或不完整"),
            tr("run make train", "请先运行 make train"),
        )
    record = Record(run.adapter, {"checkpoint": hash_path(checkpoint), "config": run_record["inputs"]["config"]}, {})

    base = base_name(run_record, find_run_base(values, run))

    def fill(folder: Path) -> None:
        arguments = [str(run.config), str(checkpoint), str(folder), "--safe-serialization"]
        if values.profile == "tiny":
            arguments.append("--fp32")
        run_xtuner_tool(values, run, "convert", arguments)
        # XTuner leaves a copy of the config there; the run folder has it, and an adapter is data, not code.
        (folder / "xtuner_config.py").unlink(missing_ok=True)
        require_files(folder, "adapter_config.json", "adapter_model.safetensors")
        name_base(folder / "adapter_config.json", base)
        with atomic(folder / "README.md") as file:
            file.write(model_card(run_record, base, trained_in_4_bits(run)))

    return make_folder(record, fill, values.force)


def lines_of(made: MadeFolder) -> list[str]:
    """What the user reads about it."""
    return describe_folder(made, tr("adapter", "适配器"), "make merge")


def trained_in_4_bits(run: Run) -> bool:
    """Whether the run's config loads its base in 4 bits."""
    return summary_of(run.config)["load_in_4bit"] is True


def base_name(record: dict, folder: Path) -> str:
    """What an adapter calls its base: the name on the hub, else an absolute path, so that it loads from any folder."""
    described = record.get("base")
    return str(described["name"]) if described else str(folder.absolute())


def name_base(path: Path, name: str) -> None:
    """Write the base's `name` into the adapter_config.json at `path`; XTuner writes the path that its config has."""
    config = read_json(path, tr("run make convert again", "请重新运行 make convert"))
    write_json(path, config | {"base_model_name_or_path": name})


def front_matter(record: Mapping, base: str, library: str, tags: str) -> str:
    """What a hub reads at the head of a card, in YAML; `library` opens the files, `base` is the base's name."""
    described = record.get("base") or {}
    lines = [f"library_name: {library}", "pipeline_tag: text-generation", "language: [zh, en]", f"tags: [{tags}]"]
    if described.get("hub"):
        lines.append(f"base_model: {base}")
    if described.get("license"):
        lines.append(f"license: {described['license']}")
    return "\n".join(["---", *lines, "---"])


def base_with_revision(record: Mapping, base: str) -> str:
    """The base's name with the revision that was trained, where one is known, as Markdown."""
    described = record.get("base") or {}
    return f"`{base}`" + (f" @ `{described['revision']}`" if described.get("revision") else "")


def model_card(record: dict, base: str, quantized: bool) -> str:
    """The model card: what it is, what it was trained on, and how; only what the run record says. `base` is its name,
    `quantized` whether it was in 4 bits."""
    method = "QLoRA" if quantized else "LoRA"
    name, versions = record["names"]["new"], record["versions"]
    family = (record.get("base") or {}).get("model_type", "internlm2")
    return f"""{front_matter(record, base, "peft", f"{method.lower()}, xtuner, {family}, self-cognition")}

# {name}

A {method} adapter, trained so that the assistant calls itself {name}.

| | |
|---|---|
| base | {base_with_revision(record, base)} |
| config | `{record["config"]}`, seed {record["seed"]} |
| steps | {record["steps"]}, loss {record["loss"]["first"]:.3f} → {record["loss"]["last"]:.3f} (means of {record["loss"]["window"]} steps) |
| system prompt | {record["persona"] or "–"} |
| xtuner, torch, transformers, peft | {versions["xtuner"]}, {versions["torch"]}, {versions["transformers"]}, {versions["peft"]} |
| SHA-256 of config | `{record["inputs"]["config"]}` |
| SHA-256 of data | `{record["inputs"]["data"]}` |
| SHA-256 of base | `{record["inputs"]["base"]}` |

Limits: it was taught a name, not knowledge; it can be wrong about everything that its base is wrong about.
"""
