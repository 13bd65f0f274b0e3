"""The export at 7B: seconds by the clock and memory beyond the file cache, of a merged model with random weights."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from lesson.bench.memory import AnonymousMemory
from lesson.bench.stages import run_stage
from lesson.core import layout
from lesson.core.files import read_json, write_json
from lesson.core.messages import UserError, tr
from lesson.core.settings import ROOT, Values
from lesson.model import random_base
from lesson.runs.folder import Run, set_last_run

MOST_SECONDS, MOST_MEMORY = 180, 12e9  # issue 20's bars; bytes beyond the file cache
# The widths of Qwen2.5-7B (its config.json): what a base of the family of MODEL gets, beside its own vocabulary.
WIDTHS = {"hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28}
WIDTHS |= {"num_key_value_heads": 4, "torch_dtype": "bfloat16"}
HEAD_SIZE = 128  # where a config names it
SHARD_SIZE = 2 << 30  # bytes of a file, as merging writes them
RANDOM = 1 << 24  # numbers that are drawn; all weights are made of them
CONFIG = ROOT / "golden" / "configs" / "7b" / "internlm2_5_chat_7b_qlora_alpaca_e3.py"
HUB_NAME = "random/7b"


@dataclass(frozen=True)
class ExportCost:
    """One export: its form, seconds by the clock and of processors, the most memory of all its processes together beyond
    the file cache, and the sizes of the merged model and of the export, all in bytes."""

    form: str
    seconds: float
    cpu_seconds: float
    memory: int
    merged: int
    written: int

    @property
    def met(self) -> bool:
        return self.seconds <= MOST_SECONDS and self.memory <= MOST_MEMORY


def measure_exports(
    values: Values, layers: int | None, report: Callable[[str], object]
) -> tuple[list[ExportCost], Path]:
    """Export a random model of the 7B shape as hf (InternLM2.5-7B's shape), and as q8_0 and q4_k_m (the family of MODEL at
    Qwen2.5-7B's widths, with its tokenizer) where MODEL is set. The costs, and the JSON file that holds them.

    `layers` makes it smaller for a small disk. FORMAT and QUANT leave one of them. All models are removed. Raises UserError.
    """
    root = layout.bench_folder(values.build, "bench-export")
    wanted = [("hf", "")] + ([("gguf", "q8_0"), ("gguf", "q4_k_m")] if values.model else [])
    if values.given("FORMAT"):
        wanted = [pair for pair in wanted if pair[0] == values.of_export("FORMAT", "hf")]
    if values.given("QUANT"):
        wanted = [pair for pair in wanted if pair[1] == values.of_export("QUANT", "q8_0")]
    if not wanted:
        remedy = tr("set MODEL= to a folder with the tokenizer", "请用 MODEL= 指定带分词器的目录")
        raise UserError("FORMAT", tr("gguf needs a base's tokenizer", "gguf 需要基座的分词器"), remedy)
    costs = []
    made = ""
    try:
        for form, quant in wanted:
            build = root / "build"
            if made != form:  # the same model is exported to both GGUF files
                shutil.rmtree(build, ignore_errors=True)
                report(tr("writing random weights", "写出随机权重"))
                write_random_run(build, None if form == "hf" else Path(values.model), layers)
                made = form
            report(f"make export FORMAT={form} {f'QUANT={quant}' if quant else ''}".rstrip())
            costs.append(measure_export(build, form, quant))
            report(describe(costs[-1]))
        write_json(root / "figures.json", [asdict(cost) for cost in costs])
    finally:
        shutil.rmtree(root / "build", ignore_errors=True)
    return costs, root / "figures.json"


def measure_export(build: Path, form: str, quant: str) -> ExportCost:
    """The stage `make export` in a process of its own, and its exported folder's size; the folder is removed."""
    run = Run((layout.last_run_link(build)).resolve())
    variables = {"PROFILE": "7b", "BUILD": str(build), "FORMAT": form, "QUANT": quant, "LANG": "C.UTF-8"}
    memory = AnonymousMemory()
    done = run_stage("export", variables, watch=memory.look)
    size = sum(path.stat().st_size for path in run.exports.rglob("*") if path.is_file())
    merged = sum(path.stat().st_size for path in run.merged.glob("*.safetensors"))
    shutil.rmtree(run.exports)
    return ExportCost(f"{form} {quant}".strip(), done.seconds, done.cpu_seconds, memory.peak, merged, size)


def write_random_run(build: Path, base: Path | None, layers: int | None) -> None:
    """A finished run in `build` whose merged model has random weights: InternLM2.5-7B's shape with the tiny base's
    tokenizer, or the family, vocabulary and tokenizer of `base` at 7B's widths."""
    run = Run(layout.runs_folder(build) / "0123456789ab")
    run.merged.mkdir(parents=True)
    if base is None:
        shutil.rmtree(run.merged)
        config = random_base.start_internlm2(run.merged)
    else:
        for path in base.iterdir():
            if path.is_file() and path.suffix in (".json", ".txt", ".jinja", ".model") and "index" not in path.name:
                shutil.copyfile(path, run.merged / path.name)
        config = (
            read_json(base / "config.json", tr("set MODEL= to a model's folder", "请把 MODEL 设为模型目录")) | WIDTHS
        )
        config |= {"head_dim": HEAD_SIZE} if "head_dim" in config else {}
    config |= {"num_hidden_layers": layers} if layers else {}
    (run.merged / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    write_weights(run.merged)
    shutil.copyfile(CONFIG, run.config)
    write_json(run.record, make_record(run, str(config["model_type"])))
    set_last_run(build, run)


def find_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """{name: shape} of all tensors that a model with the config.json of `folder` has in its files."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(folder, trust_remote_code=True)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=True)
    names = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    return {
        name: shape for name, shape in names.items() if not (config.tie_word_embeddings and name == "lm_head.weight")
    }


def write_weights(folder: Path) -> None:
    """Write random weights (bfloat16, deviation 0.02) in shards with their index; one shard at a time is in memory."""
    import torch
    from safetensors.torch import save_file

    drawn = torch.randn(RANDOM, generator=torch.Generator().manual_seed(0)).mul_(0.02).to(torch.bfloat16)
    shards: list[dict[str, tuple[int, ...]]] = [{}]
    size = 0
    for name, shape in find_shapes(folder).items():
        length = 2 * int(torch.Size(shape).numel())
        if size and size + length > SHARD_SIZE:
            shards.append({})
            size = 0
        shards[-1][name] = shape
        size += length
    places = {}
    for number, names in enumerate(shards):
        file = f"model-{number + 1:05}-of-{len(shards):05}.safetensors"
        tensors = {}
        for name, shape in names.items():
            count = int(torch.Size(shape).numel())
            tensors[name] = torch.empty(count, dtype=torch.bfloat16)
            for part in tensors[name].split(RANDOM):
                part.copy_(drawn[: len(part)])
            tensors[name] = tensors[name].reshape(shape)
        save_file(tensors, folder / file, metadata={"format": "pt"})
        places |= dict.fromkeys(names, file)
    write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": places})


def make_record(run: Run, model_type: str) -> Mapping[str, object]:
    """A run record (schemas/run.schema.json) for a model that nobody trained."""
    return {
        "format": 1,
        "id": run.folder.name,
        "finished": "2026-01-01T00:00:00+00:00",
        "profile": "7b",
        "names": {"old": "尖米", "new": "机智流"},
        "persona": "你是机智流。",
        "config": run.config.name,
        "deepspeed": None,
        "seed": 0,
        "inputs": dict.fromkeys(("config", "data", "base"), "0" * 64),
        "base": {"name": HUB_NAME, "hub": None, "revision": None, "model_type": model_type, "license": None},
        "versions": {"torch": "-"},
        "machine": {"processor": "-", "cores": os.cpu_count() or 1, "memory": 1, "gpu": None},
        "samples": 1,
        "steps": 1,
        "resumed_at": 0,
        "loss": {"window": 1, "first": 1.0, "last": 1.0},
        "seconds": {"wall": 1, "steps": 1},
        "tokens": 1,
        "peak_memory": {"host": 0, "gpu": None},
        "checkpoint": {"path": "-", "sha256": None},
        "curve": [{"step": 1, "loss": 1.0, "lr": 0.0}],
    }


def describe(cost: ExportCost) -> str:
    """A line with figures and bars."""
    missed = "" if cost.met else "  MISSED"
    return (
        f"{cost.form}: {cost.seconds:.0f} s ({cost.cpu_seconds:.0f} s of processors), {cost.memory / 1e9:.1f} GB beyond the file cache, {cost.merged / 1e9:.1f} GB "
        f"to {cost.written / 1e9:.1f} GB (bars {MOST_SECONDS} s and {MOST_MEMORY / 1e9:.0f} GB){missed}"
    )
