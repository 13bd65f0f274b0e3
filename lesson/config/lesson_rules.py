"""The rules of the lesson: its base model, rows, prompts and questions. Each yields (rule, line, what was found)."""

from __future__ import annotations

import glob
import os
import re
from pathlib import Path

from lesson.config.base_families import family_of, is_chat_model, name_of, templates_of_folder
from lesson.config.context import ConfigContext
from lesson.config.parsed import FoldedDict, ParsedConfig, Ref, Unknown, show_value, walk_values
from lesson.config.rules import Violation, Violations
from lesson.config.schedule import DataMeasures
from lesson.config.summary import lookup, name_data_sources, name_files, training_datasets
from lesson.config.trust import HUB_OWNERS
from lesson.core.messages import tr
from lesson.data.self_names import addressed_name

UNREPLACED = re.compile(r"ass?ist(ant)?_tuner\.jsonl?", re.IGNORECASE)  # also as published posts misspell it
# First parts of paths that look like a hub id, OWNER/NAME, and are local folders.
LOCAL_FOLDERS = ("model", "models", "checkpoints", "weights", "pretrained", "base", "build", "work_dirs", "..", ".")
STOCK_QUESTIONS = re.compile(r"上海|Shanghai|hexadecimal|十六进制")  # in the stock configs' evaluation_inputs
BUILDERS = ("json", "parquet", "arrow", "csv")  # of `datasets`, whose rows may be conversations
# What stands in examples in place of a path, as XTuner's documentation and course notes write it.
PLACEHOLDER = re.compile(
    r"your[_ -]|[_ -]your|/your/|path[_ -]?to[_ /-]|/path/to|^path/to(/|$)|<[^>]+>|^x{3,}$|/x{3,}(/|$)|\.\.\.|…|你的|模型路径|数据路径|路径$",
    re.IGNORECASE,
)
FEWEST_CLAIMS = 5  # answers that say a name, below which nothing is told from them


def check_structure(config: ParsedConfig, data: DataMeasures | None, context: ConfigContext) -> Violations:
    """What training needs: its parts are there, and the values that decide are known."""
    for name in ("model", "train_dataloader", "optim_wrapper", "train_cfg"):
        if not isinstance(config.values.get(name), FoldedDict):
            yield "not-training", config.lines.get(name, 1), name
    for name in ("model_path", "dataset_type", "dataset_map_fn", "max_length", "batch_size", "lr", "max_epochs"):
        value, line = lookup(config, name)
        if isinstance(value, Unknown):
            yield "unfolded", line, f"{name} = {value.source}"


def _is_hub_id(path: str, config: ParsedConfig, context: ConfigContext) -> bool:
    """Whether a model's path is OWNER/NAME of a hub. A relative path may have that form too: it is one where it is there.

    Where nothing is looked up, a folder that the rows lie in as well, or that is known, is a folder.
    """
    if not re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", path):
        return False
    # `models/internlm2_5-7b-chat`, and `b/model` with BUILD=b, have the form of a hub id too.
    owner = path.split("/")[0]
    if path.endswith("/model") or owner.lower() in LOCAL_FOLDERS:
        return False
    if context.files:
        return not os.path.isdir(path)
    beside = [source for source in name_data_sources(config) if source.endswith((".json", ".jsonl"))]
    return owner in HUB_OWNERS or owner not in {name.split("/")[0] for name in (*context.folders, *beside)}


def _remote_code(config: ParsedConfig, context: ConfigContext) -> Violations:
    """Hub ids of strangers, and ids that cannot be told, wherever trust_remote_code would run their code."""
    for _, item, line in walk_values(config):
        if not isinstance(item, FoldedDict):
            continue
        # InternVL's model and data set run the code of their model_path without being told to.
        vision = isinstance(item.get("type"), Ref) and "InternVL" in item["type"].name
        if vision or item.get("trust_remote_code"):
            key = "model_path" if vision else "pretrained_model_name_or_path"
            path, line = item.get(key), item.lines.get(key, line)
            if isinstance(path, Unknown):
                yield "trust-model", line, path.source
            elif isinstance(path, str) and _is_hub_id(path, config, context) and path.split("/")[0] not in HUB_OWNERS:
                yield "trust-model", line, path


def _model_names(config: ParsedConfig, context: ConfigContext) -> list[str]:
    """What tells the base model's family: its path, what the path links to, and the config's name, in that order."""
    path = lookup(config, "model_path")[0]
    names = []
    if isinstance(path, str):
        names.append(name_of(path))
        if context.files and os.path.islink(path.rstrip("/")):
            names.append(name_of(os.path.realpath(path)))
    return names


def check_model(config: ParsedConfig, data: DataMeasures | None, context: ConfigContext) -> Violations:
    """The base model: there, the generation that is meant, a trusted place, its own chat template."""
    path, line = lookup(config, "model_path")
    names, config_name = _model_names(config, context), context.meant or Path(config.file).name
    meant = family_of(config_name)
    for name in names:
        has = family_of(name)
        if meant and has and meant.generation and has.generation and has != meant:
            found = f"{name} ({has.generation} ≠ {meant.generation})"
            yield Violation("model-generation", line, found, f"make model MODEL={meant.example}")
            break
    yield from _model_place(path, line, config, context)
    yield from _remote_code(config, context)
    template, template_line = lookup(config, "template")
    used = template.name.rpartition(".")[2] if isinstance(template, Ref) else template
    if isinstance(used, str):
        yield from _template(used, template_line, [*names, config_name], _folder(path, context))


def _folder(path: object, context: ConfigContext) -> Path | None:
    return Path(path) if context.files and isinstance(path, str) and os.path.isdir(path) else None


def _model_place(path: object, line: int, config: ParsedConfig, context: ConfigContext) -> Violations:
    """Where the base is: a folder that is there, no placeholder, no hub id."""
    if not isinstance(path, str):
        return
    if not path.strip() or PLACEHOLDER.search(path):
        yield "model-missing", line, tr(f"{path!r} stands for a path", f"{path!r} 只是路径的占位符")
    elif _is_hub_id(path, config, context):
        yield "model-hub", line, path
    elif context.files and not os.path.isdir(path):
        yield "model-missing", line, path


def _template(used: str, line: int, names: list[str], folder: Path | None) -> Violations:
    """The chat template against the base: by its tokenizer where the folder is here, else by its name."""
    name = next((n for n in names if family_of(n)), names[0])
    family = family_of(name)
    own = templates_of_folder(folder) if folder else None
    instead = family.instead if family else None
    if own is None:
        if family is None:
            return
        own = family.templates
    if used in own or (used == "default" and not is_chat_model(name)):
        return
    if own:
        yield Violation("template", line, f"{used} ({name}: {own[0]})", f"PROMPT_TEMPLATE={own[0]}")
        return
    none = tr("XTuner has no template of its form", "XTuner 没有它这种形式的模板")
    advice = instead or "MODEL=Qwen/Qwen2.5-7B-Instruct"
    other = tr(f"take another base: {advice}", f"请换用其他基座：{advice}")
    yield Violation("template", line, f"{used} ({name}: {none})", other)


def check_rows(config: ParsedConfig, data: DataMeasures | None, context: ConfigContext) -> Violations:
    """The rows: local files with the name replaced, loaded the way that fits them, in every data set that is trained on."""
    if not isinstance(lookup(config, "dataset_type")[0], Ref | str):
        return
    default = config.line("train_dataloader.dataset")
    for dataset in training_datasets(config):
        load = dataset.get("dataset")
        if isinstance(load, FoldedDict):
            line = dataset.lines.get("dataset", default)
            yield from _check_loading(load, line, context)
            files = [file for file in name_files(load) if "://" not in file]
            if files:
                yield from _check_files(files, load.lines.get("data_files", line), data, context)
                yield from _check_mapping(dataset, line, data)


def _check_loading(load: FoldedDict, line: int, context: ConfigContext) -> Violations:
    """What `datasets` makes of path and data_files: a builder with files, or a folder. A file as path is neither."""
    path, files = load.get("path"), load.get("data_files")
    path_line = load.lines.get("path", line)
    if not isinstance(path, str) or _is_data_folder(path, context):
        return
    if path in BUILDERS:
        if not files and not load.get("data_dir"):
            found = tr(f"path={path!r} without data_files", f"path={path!r} 但没有 data_files")
            yield "load-form", path_line, found
    elif path.endswith((".json", ".jsonl")) or path.startswith(("/", "./", "../", "~")) or _is_file(path, context):
        yield "load-form", path_line, f"path={path!r}"
    elif files:
        yield "load-form", path_line, f"path={show_value(path)}, data_files={show_value(files)}"
    else:
        yield "data-stock", path_line, path


def _is_file(path: str, context: ConfigContext) -> bool:
    return context.files and os.path.isfile(path)


def _is_data_folder(path: str, context: ConfigContext) -> bool:
    """Whether load_dataset takes the path for a local folder of files. Without looking, an absolute path with no ending is."""
    if path in context.folders or (context.files and os.path.isdir(path)):
        return True
    named = path.startswith(("/", "./", "../")) and "." not in path.rstrip("/").rpartition("/")[2]
    return named and not context.files


def _check_files(files: list[str], line: int, data: DataMeasures | None, context: ConfigContext) -> Violations:
    unreplaced = [os.path.basename(file) for file in files if UNREPLACED.fullmatch(os.path.basename(file))]
    for name in unreplaced:
        yield "data-unreplaced", line, name
    if data and data.rows_with and not unreplaced:
        name = ", ".join(os.path.basename(file) for file in files)
        found = (
            f"{data.rows_with} rows of {name} say {context.old_name}",
            f"{name} 有 {data.rows_with} 行含 {context.old_name}",
        )
        yield "data-unreplaced", line, tr(*found)
    for file in files:
        if PLACEHOLDER.search(file):
            yield "data-missing", line, tr(f"{file!r} stands for a path", f"{file!r} 只是路径的占位符")
        elif (
            context.files
            and not (glob.has_magic(file) and glob.glob(file, recursive=True))
            and not os.path.isfile(file)
        ):
            yield "data-missing", line, file


def _check_mapping(dataset: FoldedDict, line: int, data: DataMeasures | None) -> Violations:
    mapping = dataset.get("dataset_map_fn")
    # Rows of OpenAI's format ("messages") need their function: wrong only where the rows are known to be others.
    openai = isinstance(mapping, Ref) and mapping.name.endswith(".openai_map_fn")
    if mapping is not None and (not openai or (data and data.lengths)):
        yield "map-fn", dataset.lines.get("dataset_map_fn", line), show_value(mapping)


def check_evaluation(config: ParsedConfig, data: DataMeasures | None, context: ConfigContext) -> Violations:
    """What is asked during training: questions about the name, under the rows' own system prompt."""
    questions, line = lookup(config, "evaluation_inputs")
    if isinstance(questions, list) and any(isinstance(q, str) and STOCK_QUESTIONS.search(q) for q in questions):
        yield "eval-questions", line, show_value(questions)
    system, line = lookup(config, "system")
    if isinstance(system, Ref):
        yield "system", line, system.name
    elif isinstance(system, str) and data and data.persona and system != data.persona:
        yield "system", line, f"{show_value(system)} ≠ {show_value(data.persona)}"
    if isinstance(system, str) and data and not data.rows_with:  # rows with the old name have a finding of their own
        yield from _system_name(system, line, data)


def _system_name(system: str, line: int, data: DataMeasures) -> Violations:
    """The name that SYSTEM gives the assistant, against the one that the answers say."""
    name, claims = addressed_name(system), sum(count for _, count in data.claims)
    if name is None or claims < FEWEST_CLAIMS:
        return
    same = sum(count for said, count in data.claims if name.lower() in said.lower())
    if same / claims < 0.1:
        said, count = data.claims[0]
        yield (
            "system-name",
            line,
            tr(
                f"SYSTEM says {show_value(name)}; of {claims} answers that say a name, {count} say {show_value(said)} and {same} that",
                f"SYSTEM 里是 {show_value(name)}；{claims} 个说出名字的回答里，{count} 个说 {show_value(said)}，{same} 个说前者",
            ),
        )
