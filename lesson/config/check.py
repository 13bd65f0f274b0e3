"""Training configs, judged without running them: the verdict on one config, with a finding for each rule it breaks."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path

from lesson.config.arguments import check_arguments
from lesson.config.context import ConfigContext
from lesson.config.lesson_rules import check_evaluation, check_model, check_rows, check_structure
from lesson.config.parsed import FoldedDict, ParsedConfig, Ref
from lesson.config.reading import parse_config, read_config
from lesson.config.rules import CONFIG_RULES, ERROR, Violation
from lesson.config.schedule import DataMeasures, Schedule, join_measures, measure_file, plan_schedule
from lesson.config.summary import config_document, lookup, name_files, training_datasets
from lesson.config.training_rules import check_steps, check_training
from lesson.core.files import readable
from lesson.core.messages import UserError, tr


@dataclass(frozen=True)
class ConfigFinding:
    """One rule that a config breaks: where, what was found, why it matters and what to do."""

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


@dataclass
class ConfigVerdict:
    """All that is said of one config; `schedule` is None where the data or a number is not known."""

    config: ParsedConfig
    findings: list[ConfigFinding]
    schedule: Schedule | None = None

    @property
    def ok(self) -> bool:
        """Whether no finding is an error."""
        return not any(f.severity == ERROR for f in self.findings)

    def document(self) -> dict[str, object]:
        """As JSON."""
        return {
            "ok": self.ok,
            "findings": [asdict(f) for f in self.findings],
            "schedule": asdict(self.schedule) if self.schedule else None,
            "facts": config_document(self.config),
        }


def check_config_file(path: str | Path, context: ConfigContext | None = None) -> ConfigVerdict:
    """The verdict on the config at `path`. Raises OSError when it cannot be read."""
    return apply_rules(read_config(path), context or ConfigContext())


def check_config_bytes(data: bytes, name: str, context: ConfigContext | None = None) -> ConfigVerdict:
    """The verdict on a config that is not a file here, such as a member of a submission; nothing is looked up."""
    return apply_rules(parse_config(data, name), context or ConfigContext(files=False))


def apply_rules(config: ParsedConfig, context: ConfigContext) -> ConfigVerdict:
    """All rules on one config. A file that is not a config's syntax gets its problems only."""
    result = ConfigVerdict(config, [])
    found = [Violation(p.kind, p.line, p.found) for p in config.problems]
    if config.values:
        data = _measure_data(config, context)
        result.schedule = _plan_training(config, data, context)
        for rules in (check_structure, check_arguments, check_model, check_rows, check_evaluation, check_training):
            found += (Violation(*broken) for broken in rules(config, data, context))
        found += check_steps(config, result.schedule)
    for rule, line, what, advice in sorted(dict.fromkeys(found), key=lambda item: item.line):
        entry = CONFIG_RULES[rule]
        severity = ERROR if rule == "model-hub" and context.offline else entry.severity
        result.findings.append(
            ConfigFinding(rule, severity, config.file, line, what, entry.reason(), advice or entry.advice())
        )
    return result


def _measure_data(config: ParsedConfig, context: ConfigContext) -> DataMeasures | None:
    """The numbers of the data files that the config names, where all of them are here to be read."""
    named = [name_files(load) for d in training_datasets(config) if isinstance(load := d.get("dataset"), FoldedDict)]
    files = [file for group in named for file in group]
    if not (context.files and files and all(os.path.isfile(file) for file in files)):
        return None
    template, model = lookup(config, "template")[0], lookup(config, "model_path")[0]
    name = template.name.rpartition(".")[2] if isinstance(template, Ref) else str(template)
    tokenizer = Path(model) / "tokenizer.json" if isinstance(model, str) else None
    try:
        measured = [measure_file(Path(file), name, tokenizer, context.old_name) for file in files]
        return measured[0] if len(measured) == 1 else join_measures(measured)
    except (OSError, UserError):
        return None


def _plan_training(config: ParsedConfig, data: DataMeasures | None, context: ConfigContext) -> Schedule | None:
    """How much training the config and its data make; None where a number is not known."""
    names = ("max_length", "batch_size", "accumulative_counts", "max_epochs")
    numbers = [lookup(config, name)[0] for name in names]
    warmup = lookup(config, "warmup_ratio")[0] or 0
    parallel = lookup(config, "sequence_parallel_size")[0] or 1
    whole = all(isinstance(n, int) and n > 0 for n in [*numbers, parallel])
    if data is None or not data.lengths or not whole or not isinstance(warmup, int | float):
        return None
    length, batch, accumulate, epochs = numbers
    packed = lookup(config, "pack_to_max_length")[0] is not False
    if not data.kept_lengths(length):
        return None
    return plan_schedule(data, length, packed, batch, accumulate, epochs, warmup, context.world_size, parallel)


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


def document_of(verdicts: list[ConfigVerdict], paths: list[str]) -> object:
    """The verdicts as JSON: a list, or the one verdict on the one file that `paths` name."""
    documents = [verdict.document() for verdict in verdicts]
    return documents[0] if len(paths) == len(documents) == 1 else documents


def lines_of(verdict: ConfigVerdict) -> list[str]:
    """What the user reads: the findings, the plan of the training where it is known, the counts."""
    file, lines = verdict.config.file, [str(finding) for finding in verdict.findings]
    if plan := verdict.schedule:
        lines.append(
            tr(
                f"{file}: {plan.samples} samples, effective batch {plan.effective_batch}, "
                f"{plan.iterations_per_epoch} iterations an epoch, {plan.iterations} in all, "
                f"{plan.optimizer_steps} optimizer steps",
                f"{file}：{plan.samples} 个样本，有效批量 {plan.effective_batch}，"
                f"每轮 {plan.iterations_per_epoch} 次迭代，共 {plan.iterations} 次，{plan.optimizer_steps} 个优化步",
            )
        )
    errors = sum(finding.severity == ERROR for finding in verdict.findings)
    warnings = len(verdict.findings) - errors
    lines.append(tr(f"{file}: {errors} errors, {warnings} warnings", f"{file}：{errors} 个错误，{warnings} 个警告"))
    return lines
