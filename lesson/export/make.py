"""The stage make export: the run's assistant in the form that another program takes, in run/export/FORM."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

from lesson.core.files import atomic, hash_path, read_json, readable, sha256
from lesson.core.messages import UserError, tr
from lesson.core.processes import run_process
from lesson.core.records import Record
from lesson.core.settings import Values
from lesson.export.card import CARD, make_card, write_sums
from lesson.export.engine import find_python
from lesson.export.gguf import choose_tensor_types, write_gguf
from lesson.export.hugging_face import remove_weights, write_model
from lesson.export.ollama import write_modelfile
from lesson.export.prompts import check_prompts
from lesson.runs.base import find_run_base
from lesson.runs.chosen import find_chosen_run
from lesson.runs.folder import Run, remove_left_parts
from lesson.training.convert import base_name, trained_in_4_bits
from lesson.training.xtuner_tools import MadeFolder, describe_folder, make_folder

ADAPTER = "adapter"  # the form that no other program can be asked with
SIGNATURE = "model.sig"  # the name that the model-signing package proposes


def choose_quant(values: Values) -> str:
    """QUANT=, which has other choices here than in training."""
    return values.of_export("QUANT", "q8_0")


def export_folder(run: Run, form: str, quant: str) -> Path:
    """run/export/hf, run/export/gguf-q8_0, …: one folder a form, so that none overwrites another."""
    return run.exports / (f"{form}-{quant}" if form in ("gguf", "ollama") else form)


def export_run(values: Values, form: str, report: Callable[[str], None], progress: TextIO) -> MadeFolder:
    """Export the run trained last; `report` gets a line before each long step, `progress` a bar where it is a terminal.

    Raises UserError when a part is missing, a tool fails, or an edited export would be overwritten.
    """
    remove_left_parts(values.build)
    run = find_chosen_run(values)
    record, quant = run.read_record(), choose_quant(values)
    scores = run.evaluation / "evaluation.json"
    known = read_json(scores, tr("run make eval", "请运行 make eval")) if scores.is_file() else None
    source = run.adapter if form == ADAPTER else run.merged
    if not source.is_dir():
        raise UserError(source, tr("not there yet", "还没有"), tr("run make merge", "请先运行 make merge"))
    key = values.text("SIGNING_KEY")
    if key:
        readable(key, tr("set SIGNING_KEY= to a private key in PEM form", "请把 SIGNING_KEY 设为 PEM 格式的私钥"))
    inputs = {"model": hash_path(source)} | ({"evaluation": hash_path(scores)} if known else {})
    parameters = {"quant": quant, "signed": sha256(key)[:16] if key else ""}
    types = choose_tensor_types(source, quant) if form in ("gguf", "ollama") else []
    if types:
        parameters["types"] = types  # what was exported before the rule changed is made anew
    made = Record(export_folder(run, form, quant), inputs, parameters)

    def fill(folder: Path) -> None:
        if form == ADAPTER:
            copy_adapter(run, folder)
        elif form == "hf":
            write_with_progress(run.merged, folder, report, progress)
        else:
            fill_with_gguf(
                run, record, folder, quant, types, form == "ollama", values.text("LLAMA_CPP"), report, progress
            )
        with atomic(folder / CARD) as file:
            file.write(
                make_card(record, base_name(record, find_run_base(values, run)), form, known, trained_in_4_bits(run))
            )
        write_sums(folder)
        if key:
            sign_folder(folder, Path(key))

    return make_folder(made, fill, values.force)


def write_with_progress(
    merged: Path, folder: Path, report: Callable[[str], None], progress: TextIO, link: bool = False
):
    """`write_model`, with a bar over the weights where `progress` is a terminal, else a line for each quarter of them."""
    report(tr("writing weights, tokenizer and chat template", "写出权重、分词器和对话模板"))
    if progress.isatty():
        with tqdm(unit="B", unit_scale=True, unit_divisor=1024, file=progress, dynamic_ncols=True) as bar:

            def move(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            return write_model(merged, folder, move, link)
    told = 0

    def tell(done: int, total: int) -> None:
        nonlocal told
        if total and (quarters := 4 * done // total) > told:
            told = quarters
            share, size = f"{25 * told}%", f"{total / 2**20:.1f} MiB"
            report(tr(f"weights: {share} of {size}", f"权重：{size} 的 {share}"))

    return write_model(merged, folder, tell, link)


def copy_adapter(run: Run, folder: Path) -> None:
    """PEFT's two files; what the training left beside them stays there."""
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        shutil.copyfile(run.adapter / name, folder / name)


def fill_with_gguf(
    run: Run,
    record: dict,
    folder: Path,
    quant: str,
    types: list[str],
    modelfile: bool,
    tools: str,
    report: Callable[[str], None],
    progress: TextIO,
) -> None:
    """The GGUF file, and Ollama's Modelfile where `modelfile`. The folder that the converter reads goes again."""
    find_python()  # before the weights are written
    between = folder / "hf"
    between.mkdir()
    tokenizer = write_with_progress(run.merged, between, report, progress, link=True)
    name = f"{file_stem(record['names']['new'])}-{quant}.gguf"
    report(tr(f"llama.cpp's converter: {name}", f"llama.cpp 转换：{name}"))
    write_gguf(between, folder / name, quant, tools, types, converted=lambda: remove_weights(between))
    report(tr("asking llama.cpp how it writes a chat", "检查 llama.cpp 如何写出对话"))
    check_prompts("llama.cpp", folder / name, tokenizer, record["persona"])
    if modelfile:
        template = read_json(between / "tokenizer_config.json", "")["chat_template"]
        with atomic(folder / "Modelfile") as file:
            file.write(write_modelfile(name, template, record["persona"]))
    shutil.rmtree(between)


def file_stem(name: str) -> str:
    """A file name for the assistant's name: letters, digits, hyphen, dot and underscore of any script, else hyphens."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "assistant"


def sign_folder(folder: Path, key: Path) -> None:
    """Sign all files by the private key `key` in the OpenSSF Model Signing form. Raises UserError when it fails."""
    command = [str(find_python()), "-m", "model_signing", "sign", "key", str(folder), "--private_key", str(key)]
    process = run_process([*command, "--signature", str(folder / SIGNATURE)])
    if process.status or not (folder / SIGNATURE).is_file():
        raise UserError(
            key,
            tr("the model could not be signed with it", "无法用它签名"),
            tr(
                "a private key in PEM form: openssl ecparam -name prime256v1 -genkey -noout -out key.pem",
                "需要 PEM 格式的私钥：openssl ecparam -name prime256v1 -genkey -noout -out key.pem",
            ),
            details=process.screen[-1000:].strip(),
        )


def lines_of(made: MadeFolder, form: str, quant: str) -> list[str]:
    """What the user reads about it, and what to type there."""
    names = sorted(path.name for path in made.path.iterdir())
    file = next((name for name in names if name.endswith(".gguf")), "")
    uses = {
        "hf": tr(
            f"transformers, vLLM, SGLang: vllm serve {made.path}", f"transformers、vLLM、SGLang：vllm serve {made.path}"
        ),
        "gguf": tr(f"llama.cpp: llama-cli -m {made.path / file}", f"llama.cpp：llama-cli -m {made.path / file}"),
        "ollama": f"cd {made.path} && ollama create NAME -f Modelfile",
        "adapter": "make push REPO=OWNER/NAME",
    }
    suffix = f" FORMAT={form}" + (f" QUANT={quant}" if form != "hf" else "")
    following = "make web" if form == ADAPTER else f"make eval USE=export{suffix}"
    lines = describe_folder(made, tr("export", "导出"), following, last=True)
    if form in ("gguf", "ollama") and quant == "q4_k_m":
        lines.append(
            tr(
                "note: 4 bits can lose the name; ask it by the command above, and take QUANT=q8_0 where that fails",
                "注意：4 位可能丢失名字；请用上面的命令检查，不通过就用 QUANT=q8_0",
            )
        )
    return [*lines, tr("use it: ", "使用：") + uses[form]]
