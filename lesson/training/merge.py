"""Adapter and base as one model in the run folder; fails when the merged weights equal the base's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lesson.core.files import hash_path
from lesson.core.messages import UserError, tr
from lesson.core.records import Record
from lesson.core.settings import Values
from lesson.model.weights import find_tensors
from lesson.runs.base import find_run_base
from lesson.runs.chosen import find_chosen_run
from lesson.runs.folder import remove_left_parts
from lesson.training.base import read_base_hash
from lesson.training.xtuner_tools import MadeFolder, describe_folder, make_folder, require_files, run_xtuner_tool


def merge_adapter(values: Values, report: Callable[[str], None]) -> MadeFolder:
    """Merge base and adapter of the run trained last; `report` gets a line on what was merged.

    Raises UserError when one of them is missing or of another training, and when the adapter changes nothing.
    """
    remove_left_parts(values.build)
    run = find_chosen_run(values)
    base = find_run_base(values, run)
    if not (run.adapter / "adapter_config.json").is_file():
        raise UserError(run.adapter, tr("no adapter", "没有适配器"), tr("run make convert", "请先运行 make convert"))
    if read_base_hash(base) != run.read_record()["inputs"]["base"]:
        raise UserError(
            base,
            tr("is not the base that the adapter was trained on", "不是训练该适配器时的基座"),
            tr("run make model with the MODEL= of that time", "请用当时的 MODEL= 运行 make model"),
        )
    record = Record(run.merged, {"adapter": hash_path(run.adapter), "base": read_base_hash(base)}, {})

    def fill(folder: Path) -> None:
        device = "auto" if values.profile == "7b" else "cpu"
        arguments = [str(base), str(run.adapter), str(folder), "--safe-serialization", "--device", device]
        run_xtuner_tool(values, run, "merge", arguments)
        require_files(folder, "config.json", "tokenizer_config.json")
        changed, count = count_changed_tensors(base, folder)
        if not changed:
            raise UserError(
                run.adapter,
                tr(
                    "the merged weights equal the base's: the adapter changes nothing",
                    "合并后的权重与基座相同：适配器没有任何作用",
                ),
                tr("train again: make train", "请重新训练：make train"),
            )
        report(tr(f"{changed} of {count} tensors differ from the base's", f"{count} 个张量中有 {changed} 个与基座不同"))

    return make_folder(record, fill, values.force)


def lines_of(made: MadeFolder) -> list[str]:
    """What the user reads about it."""
    return describe_folder(made, tr("merged model", "合并后的模型"), "make eval, make chat")


def count_changed_tensors(base: Path, merged: Path) -> tuple[int, int]:
    """How many of the merged tensors differ from the base's of the same name (in float16), and how many there are.

    Raises UserError for a tensor that the base has not.
    """
    import torch

    theirs, changed, count = find_tensors(base), 0, 0
    for name, get in find_tensors(merged).items():
        if name not in theirs:
            raise UserError(
                merged,
                tr(f"tensor {name} is not in the base", f"基座里没有张量 {name}"),
                tr("run make convert and make merge again", "请重新运行 make convert 和 make merge"),
            )
        count += 1
        changed += not torch.equal(get().to(torch.float16), theirs[name]().to(torch.float16))
    return changed, count
