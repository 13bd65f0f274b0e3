"""Judge training configs without running them: the lesson's slips, training that cannot work, and trust.

    python -m recipe.check_config FILE_OR_FOLDER… [--format json] [--no-files]

Each finding has a rule, the line, what was found, why it matters and what to do. Exit status 1 when a finding is an
error, 2 when a file cannot be read. Imports neither torch nor xtuner nor libcst.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

from lesson.config import reading as facts
from lesson.config import schedule
from lesson.config.reading import Facts, Ref, Unknown, lookup, plain
from lesson.config.rules import ERROR, FEWEST_STEPS, RULES
from lesson.config.schedule import world
from lesson.core import cli
from lesson.core.files import readable
from lesson.core.layout import config_file
from lesson.core.messages import UserError, tr
from lesson.core.settings import Values

SETTINGS_USED = [
    "PROFILE",
    "BUILD",
    "CONFIG",
    "BASE_CONFIG",
    "OLD_NAME",
    "DEEPSPEED",
    "NPROC_PER_NODE",
    "NNODES",
    "FORMAT",
]
UNREPLACED = re.compile(r"ass?ist(ant)?_tuner\.jsonl?", re.IGNORECASE)  # also as published posts misspell it
# Who publishes the base models of XTuner's stock configs, on Hugging Face and ModelScope.
HUB_OWNERS = (
    *("internlm", "Shanghai_AI_Laboratory", "Qwen", "qwen", "Tianjin_Ascend", "baichuan-inc", "meta-llama", "THUDM"),
    *("openbmb", "huggyllama", "deepseek-ai", "mistralai", "01-ai", "microsoft", "bigcode", "HuggingFaceH4"),
    *("google", "CohereForAI", "lmsys", "LLM-Research", "ZhipuAI"),
)
LOCAL_FOLDERS = ("model", "models", "checkpoints", "weights", "pretrained", "base", "build", "work_dirs", "..", ".")
STOCK_QUESTIONS = re.compile(r"上海|Shanghai|hexadecimal|十六进制")


@dataclass(frozen=True)
class Finding:
    rule: str
    severity: str
    file: str
    line: int
    found: str
    why: str
    remedy: str

    def __str__(self) -> str:
        head = tr(
            f"[{self.severity} {self.rule}]", f"[{ {'error': '错误', 'warning': '警告'}[self.severity] } {self.rule}]"
        )
        return f"{self.file}:{self.line}: {head} {self.found}; {self.why}; {self.remedy}"


@dataclass(frozen=True)
class Context:
    """What the judge knows besides the config itself."""

    files: bool = True  # look at the data and model folder that the config names
    meant: str | None = None  # name of the stock config that is meant, such as the lesson's
    old_name: str = "尖米"
    deepspeed: str | None = None  # "none" when training goes without; None when not known
    offline: bool = False
    flash_attn: bool | None = None  # None when not known
    world: int = 1  # GPUs


@dataclass
class Verdict:
    facts: Facts
    findings: list[Finding]
    schedule: schedule.Schedule | None = None

    @property
    def ok(self) -> bool:
        return not any(f.severity == ERROR for f in self.findings)

    def document(self) -> dict:
        return {
            "ok": self.ok,
            "findings": [asdict(f) for f in self.findings],
            "schedule": asdict(self.schedule) if self.schedule else None,
            "facts": self.facts.document(),
        }


def check_file(path: str | Path, context: Context | None = None) -> Verdict:
    """The verdict on the config at `path`. Raises OSError when it cannot be read."""
    return judge(facts.read(path), context or Context())


def check_bytes(data: bytes, name: str, context: Context | None = None) -> Verdict:
    """The verdict on a config that is not a file here, such as a member of a submission; nothing is looked up."""
    return judge(facts.of_bytes(data, name), context or Context(files=False))


def judge(config: Facts, context: Context) -> Verdict:
    """All rules on one config. A file that is not a config's syntax gets its problems only."""
    result = Verdict(config, [])
    found: list[tuple[str, int, str]] = [(p.kind, p.line, p.found) for p in config.problems]
    if config.values:
        data = _data(config, context)
        result.schedule = _schedule(config, data, context)
        for rules in (_structure, _model, _rows, _evaluation, _training):
            found += rules(config, data, context)
        found += _steps(config, result.schedule)
    for rule, line, what in sorted(dict.fromkeys(found), key=lambda item: item[1]):
        severity, why_en, why_zh, do_en, do_zh = RULES[rule]
        if rule == "model-hub" and context.offline:
            severity = ERROR
        result.findings.append(Finding(rule, severity, config.file, line, what, tr(why_en, why_zh), tr(do_en, do_zh)))
    return result


Found = Iterator[tuple[str, int, str]]


def _show(value: object) -> str:
    """A value as the user wrote it, shortened."""
    match value:
        case Ref(name):
            text = name
        case Unknown(source):
            text = source
        case _:
            text = repr(plain(value))
    return text if len(text) <= 80 else text[:79] + "…"


# --- the lesson's rules ------------------------------------------------------------------------------------------------


def _structure(config: Facts, data: schedule.Data | None, context: Context) -> Found:
    for name in ("model", "train_dataloader", "optim_wrapper", "train_cfg"):
        if not isinstance(config.values.get(name), facts.Dict):
            yield "not-training", config.lines.get(name, 1), name
    for name in ("model_path", "dataset_type", "dataset_map_fn", "max_length", "batch_size", "lr", "max_epochs"):
        value, line = lookup(config, name)
        if isinstance(value, Unknown):
            yield "unfolded", line, f"{name} = {value.source}"


GENERATIONS = {
    "internlm2_5": r"internlm2[._-]5",
    "internlm3": "internlm3",
    "internlm2": "internlm2",
    "internlm": "internlm",
}


def _generation(name: str) -> str | None:
    """Which family of models a folder, a hub id or a config is called after: internlm2_5, internlm2, qwen, …"""
    for generation, pattern in (*GENERATIONS.items(), ("qwen", "qwen")):
        if re.search(pattern, name.lower()):
            return generation
    return None


def _is_hub_id(path: str) -> bool:
    # `models/internlm2_5-7b-chat`, and `b/model` with BUILD=b, have the form of a hub id too.
    owner = path.split("/")[0].lower()
    local = path.endswith("/model") or owner in LOCAL_FOLDERS or os.path.isdir(path)
    return bool(re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", path)) and not local


def _remote_code(config: Facts) -> Found:
    """Hub ids of strangers, and ids that cannot be told, wherever trust_remote_code would run their code."""
    for _, item, line in facts.walk(config):
        if isinstance(item, facts.Dict) and item.get("trust_remote_code"):
            path = item.get("pretrained_model_name_or_path")
            line = item.lines.get("pretrained_model_name_or_path", line)
            if isinstance(path, Unknown):
                yield "trust-model", line, path.source
            elif isinstance(path, str) and _is_hub_id(path) and path.split("/")[0] not in HUB_OWNERS:
                yield "trust-model", line, path


def _model_names(config: Facts, context: Context) -> list[str]:
    """What tells the base model's family: its path, what the path links to, and the config's name, in that order."""
    path = lookup(config, "model_path")[0]
    names = []
    if isinstance(path, str):
        names.append(path.rstrip("/").rpartition("/")[2])
        if context.files and os.path.islink(path.rstrip("/")):
            names.append(os.path.basename(os.path.realpath(path)))
    return names


def _model(config: Facts, data: schedule.Data | None, context: Context) -> Found:
    path, line = lookup(config, "model_path")
    names, config_name = _model_names(config, context), context.meant or Path(config.file).name
    meant = _generation(config_name)
    for name in names:
        has = _generation(name)
        if meant in GENERATIONS and has in GENERATIONS and has != meant:
            yield "model-generation", line, f"{name} ({_generation(name)} ≠ {meant})"
            break
    if isinstance(path, str) and _is_hub_id(path):
        yield "model-hub", line, path
    yield from _remote_code(config)
    template, template_line = lookup(config, "template")
    used = template.name.rpartition(".")[2] if isinstance(template, Ref) else template
    family_name = next((n for n in [*names, config_name] if _generation(n)), "")
    family = _generation(family_name)
    if family and isinstance(used, str):
        own = {"internlm": "internlm_chat", "qwen": "qwen_chat"}.get(family, "internlm2_chat")
        same = schedule.TEMPLATES.get(used) == schedule.TEMPLATES[own]  # Qwen's and InternLM2's are the same text
        if not same and ("chat" in family_name.lower() or used != "default"):
            yield "template", template_line, f"{used} ({family_name}: {own})"


def _rows(config: Facts, data: schedule.Data | None, context: Context) -> Found:
    if not isinstance(lookup(config, "dataset_type")[0], Ref | str):
        return
    path, path_line = lookup(config, "dataset_path")
    files, files_line = lookup(config, "data_files")
    file = facts.data_file(config)
    local_path = isinstance(path, str) and (
        path.endswith((".json", ".jsonl")) or path.startswith(("/", "./", "../", "~")) or os.path.isfile(path)
    )
    if local_path:
        yield "load-form", path_line, f"path={path!r}"
        file = file or path
    elif path == "json" and not files:
        yield "load-form", path_line, tr("path='json' without data_files", "path='json' 但没有 data_files")
    elif files and path != "json":
        yield "load-form", path_line, f"path={_show(path)}, data_files={_show(files)}"
    elif isinstance(path, str) and path != "json":
        yield "data-stock", path_line, path
    if file:
        line = files_line if files else path_line
        name = os.path.basename(file)
        if UNREPLACED.fullmatch(name):
            yield "data-unreplaced", line, name
        elif data and data.rows_with:
            yield (
                "data-unreplaced",
                line,
                tr(
                    f"{data.rows_with} rows of {name} say {context.old_name}",
                    f"{name} 有 {data.rows_with} 行含 {context.old_name}",
                ),
            )
        if context.files and not os.path.isfile(file):
            yield "data-missing", line, file
        mapping, mapping_line = lookup(config, "dataset_map_fn")
        # Rows of OpenAI's format ("messages") need their function: wrong only where the rows are known to be others.
        openai = isinstance(mapping, Ref) and mapping.name.endswith(".openai_map_fn")
        if mapping is not None and (not openai or (data and data.lengths)):
            yield "map-fn", mapping_line, _show(mapping)


def _evaluation(config: Facts, data: schedule.Data | None, context: Context) -> Found:
    questions, line = lookup(config, "evaluation_inputs")
    if isinstance(questions, list) and any(isinstance(q, str) and STOCK_QUESTIONS.search(q) for q in questions):
        yield "eval-questions", line, _show(questions)
    system, line = lookup(config, "system")
    if isinstance(system, Ref):
        yield "system", line, system.name
    elif isinstance(system, str) and data and data.persona and system != data.persona:
        yield "system", line, f"{_show(system)} ≠ {_show(data.persona)}"


# --- rules of training -------------------------------------------------------------------------------------------------


def _training(config: Facts, data: schedule.Data | None, context: Context) -> Found:
    def dtype(name: str) -> str | None:
        value = lookup(config, name)[0]
        return value.name.rpartition(".")[2] if isinstance(value, Ref) else value if isinstance(value, str) else None

    amp = dtype("optim_wrapper") == "AmpOptimWrapper"
    weights, autocast = dtype("torch_dtype"), dtype("amp_dtype")
    scale, scale_line = lookup(config, "loss_scale")
    if amp and "bfloat16" in (weights, autocast):
        if not (isinstance(scale, dict) and scale.get("enabled") is False):
            yield "loss-scale", scale_line, f"loss_scale={_show('dynamic' if scale is None else scale)}"
        if weights and autocast and weights != autocast:
            yield "dtype-mixed", lookup(config, "amp_dtype")[1], f"torch_dtype={weights}, dtype={autocast}"
    longest, line = lookup(config, "max_length")
    if data and isinstance(longest, int) and data.longest > longest:
        about = "" if data.exact else tr("about ", "约 ")
        where = f"{facts.data_file(config)}:{data.longest_line}"
        yield (
            "max-length",
            line,
            tr(f"{longest} < {about}{data.longest} ({where})", f"{longest} < {about}{data.longest}（{where}）"),
        )
    rate, line = lookup(config, "lr")
    r = lookup(config, "lora_r")[0]
    if isinstance(rate, int | float) and r is not None and not 1e-6 <= rate <= 2e-3:
        yield "lr", line, f"lr = {rate:g}"
    varlen, line = lookup(config, "use_varlen_attn")
    if varlen is True:
        batch, packed = lookup(config, "batch_size")[0], lookup(config, "pack_to_max_length")[0]
        if context.flash_attn is False or batch != 1 or packed is not True:
            had = tr("not installed", "未安装") if context.flash_attn is False else "?"
            yield (
                "varlen",
                line,
                f"use_varlen_attn = True, flash-attn {had}, batch_size = {_show(batch)}, pack = {_show(packed)}",
            )
    parallel, line = lookup(config, "sequence_parallel_size")
    if isinstance(parallel, int) and parallel > 1 and context.deepspeed == "none":
        yield "sequence-parallel", line, f"sequence_parallel_size = {parallel}"
    yield from _lora(config)
    seed, line = lookup(config, "seed")
    if seed is None:
        yield "seed", line, "randomness.seed = None"


def _lora(config: Facts) -> Found:
    (r, line), (alpha, alpha_line), (dropout, dropout_line) = (
        lookup(config, name) for name in ("lora_r", "lora_alpha", "lora_dropout")
    )
    if isinstance(r, int) and not 1 <= r <= 1024:
        yield "lora", line, f"r = {r}"
    elif isinstance(r, int) and isinstance(alpha, int | float) and not 1 / 16 <= alpha / r <= 8:
        yield "lora", alpha_line, f"lora_alpha / r = {alpha:g} / {r}"
    if isinstance(dropout, int | float) and not 0 <= dropout < 0.5:
        yield "lora", dropout_line, f"lora_dropout = {dropout:g}"


def _data(config: Facts, context: Context) -> schedule.Data | None:
    """The numbers of the data file that the config names, where it is here to be read."""
    file = facts.data_file(config)
    if not (context.files and file and os.path.isfile(file)):
        return None
    template, model = lookup(config, "template")[0], lookup(config, "model_path")[0]
    name = template.name.rpartition(".")[2] if isinstance(template, Ref) else str(template)
    tokenizer = Path(model) / "tokenizer.json" if isinstance(model, str) else None
    try:
        return schedule.measure(Path(file), name, tokenizer, context.old_name)
    except (OSError, UserError):
        return None


def _schedule(config: Facts, data: schedule.Data | None, context: Context) -> schedule.Schedule | None:
    names = ("max_length", "batch_size", "accumulative_counts", "max_epochs")
    numbers = [lookup(config, name)[0] for name in names]
    warmup = lookup(config, "warmup_ratio")[0] or 0
    parallel = lookup(config, "sequence_parallel_size")[0] or 1
    whole = all(isinstance(n, int) and n > 0 for n in [*numbers, parallel])
    if data is None or not data.lengths or not whole or not isinstance(warmup, int | float):
        return None
    length, batch, accumulate, epochs = numbers
    packed = lookup(config, "pack_to_max_length")[0] is not False
    return schedule.plan(data, length, packed, batch, accumulate, epochs, warmup, context.world, parallel)


def _steps(config: Facts, plan: schedule.Schedule | None) -> Found:
    ratio, line = lookup(config, "warmup_ratio")
    if isinstance(ratio, int | float) and ratio >= 0.5:
        yield "warmup-long", line, f"warmup_ratio = {ratio:g}"
    elif isinstance(ratio, int | float) and (ratio <= 0 or (plan and plan.warmup_iterations < 1)):
        steps = f", {plan.iterations} × {ratio:g} < 1" if plan else ""
        yield "warmup-empty", line, f"warmup_ratio = {ratio:g}{steps}"
    elif plan and plan.warmup_iterations == 1:
        yield "warmup-one", line, f"warmup_ratio = {ratio:g}, {plan.iterations} iterations"
    if plan is None:
        return
    if plan.optimizer_steps < FEWEST_STEPS:
        line = lookup(config, "accumulative_counts")[1]
        how = f"{plan.samples} samples, batch {plan.effective_batch}, {plan.optimizer_steps} steps"
        yield (
            "few-steps",
            line,
            tr(how, f"{plan.samples} 个样本，批量 {plan.effective_batch}，{plan.optimizer_steps} 步"),
        )
    every, line = lookup(config, "save_steps")
    if isinstance(every, int) and every > plan.iterations:
        yield "save-late", line, f"save_steps = {every} > {plan.iterations}"


# --- command line ------------------------------------------------------------------------------------------------------


def context_of(values: Values, look: bool, meant: str | None) -> Context:
    """The context of this call; flash-attn is looked up without importing it."""
    return Context(
        files=look,
        meant=meant,
        old_name=values.old_name,
        deepspeed=values.deepspeed or None,
        offline=os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0"),
        flash_attn=find_spec("flash_attn") is not None,
        world=world(values),
    )


def configs_in(paths: list[str]) -> list[Path]:
    """The files named, and all *.py below the folders named. Raises UserError."""
    remedy = tr("name a config file or a folder of them", "请指定配置文件或其目录")
    result = []
    for path in paths:
        if os.path.isdir(path):
            result += sorted(p for p in Path(path).rglob("*.py") if p.name != "__init__.py")
        else:
            result.append(readable(path, remedy))
    if not result:
        raise UserError(", ".join(paths), tr("no config in it", "里面没有配置"), remedy)
    return result


def check(paths: list[str], values: Values, look: bool = True, meant: str | None = None) -> int:
    """Judge all and report: 0 when no finding is an error, else 1. `meant` is the stock config that is meant."""
    if not paths:
        paths = [values.config or str(config_file(values.build, values.base_config))]
    context = context_of(values, look, meant)
    verdicts = [check_file(path, context) for path in configs_in(paths)]
    if values.format == "json":
        documents = [v.document() for v in verdicts]
        print(
            json.dumps(documents[0] if len(paths) == len(documents) == 1 else documents, ensure_ascii=False, indent=2)
        )
    else:
        for verdict in verdicts:
            _report(verdict)
    return 0 if all(v.ok for v in verdicts) else 1


def _report(verdict: Verdict) -> None:
    for finding in verdict.findings:
        print(finding)
    if plan := verdict.schedule:
        print(
            tr(
                f"{verdict.facts.file}: {plan.samples} samples, effective batch {plan.effective_batch}, "
                f"{plan.iterations_per_epoch} iterations an epoch, {plan.iterations} in all, "
                f"{plan.optimizer_steps} optimizer steps",
                f"{verdict.facts.file}：{plan.samples} 个样本，有效批量 {plan.effective_batch}，"
                f"每轮 {plan.iterations_per_epoch} 次迭代，共 {plan.iterations} 次，{plan.optimizer_steps} 个优化步",
            )
        )
    errors = sum(f.severity == ERROR for f in verdict.findings)
    warnings = len(verdict.findings) - errors
    print(
        tr(
            f"{verdict.facts.file}: {errors} errors, {warnings} warnings",
            f"{verdict.facts.file}：{errors} 个错误，{warnings} 个警告",
        )
    )


def main(arguments: list[str] | None = None) -> int:
    def call() -> int:
        parser = cli.parser("check_config", __doc__, SETTINGS_USED)
        parser.add_argument("files", nargs="*", help=tr("config files or folders", "配置文件或目录"))
        help_text = tr("judge the text alone, look at no other file", "只看文本，不看其他文件")
        parser.add_argument("--no-files", action="store_true", help=help_text)
        flags = vars(parser.parse_args(arguments))
        cli.set_language(flags["LANG"])
        files, no_files = flags.pop("files"), flags.pop("no_files")
        # The default of BASE_CONFIG says nothing about a file from elsewhere; only what the user typed does.
        meant = flags["BASE_CONFIG"] or os.environ.get("BASE_CONFIG") or None
        return check(files, Values(flags), not no_files, meant)

    return cli.guarded(call)
