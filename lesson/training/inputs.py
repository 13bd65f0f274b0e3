"""What a training is made from: its config, rows and base, each known by its hash."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lesson.config.kept import keep_values
from lesson.config.schedule import world_size
from lesson.config.summary import summary_of
from lesson.core.files import readable, sha256
from lesson.core.layout import config_file
from lesson.core.messages import UserError, tr
from lesson.core.settings import Values
from lesson.model.choice import chosen_base_config
from lesson.runs.folder import make_run_id
from lesson.training.base import read_base_hash
from lesson.training.deepspeed import find_deepspeed_config


@dataclass(frozen=True)
class TrainingInputs:
    """What a training is made from. `summary` is the config's (lesson/config/summary.py)."""

    config: Path
    summary: dict
    data: Path
    base: Path
    hashes: dict[str, str]  # SHA-256 of "config", "data" and "base"
    deepspeed: str | None  # what goes behind XTuner's --deepspeed
    processes: int  # on all machines together

    @property
    def run_id(self) -> str:
        return make_run_id(self.hashes, self.deepspeed, self.processes)


def values_of_config(values: Values) -> Values:
    """This call with what make config was given, such as SPEED; a config of one's own (CONFIG=) has no such record."""
    if values.config:
        return values
    return keep_values(values, config_file(values.build, chosen_base_config(values))).values


def read_inputs(values: Values) -> TrainingInputs:
    """The config CONFIG= (else BUILD's), and what it names. Raises UserError with the target that makes what is missing."""
    config = Path(values.config) if values.config else config_file(values.build, chosen_base_config(values))
    if not config.is_file():
        raise UserError(config, tr("no config", "没有配置"), tr("run make config", "请先运行 make config"))
    summary = summary_of(config)
    data, model = find_trained_files(summary, config)
    deepspeed = find_deepspeed_config(values)
    hashes = {
        "config": sha256(config),
        "data": hash_input(data, tr("run make data", "请先运行 make data")),
        "base": read_base_hash(model),
    }
    return TrainingInputs(config, summary, data, model, hashes, deepspeed, world_size(values))


def find_trained_files(summary: dict, source: Path) -> tuple[Path, Path]:
    """The data file and the base model folder that the config names. Raises UserError when it names none."""
    data, model = summary.get("data_file"), summary.get("model_path")
    if not data or not model:
        what = tr("names no data file or no base model", "没有写明数据文件或基座模型")
        raise UserError(
            source, what, tr(f"run make check-config CONFIG={source}", f"请运行 make check-config CONFIG={source}")
        )
    return Path(data), Path(model)


def hash_input(path: Path, remedy: str) -> str:
    """SHA-256 of a file that must be there. Raises UserError with `remedy`."""
    return sha256(readable(path, remedy))
