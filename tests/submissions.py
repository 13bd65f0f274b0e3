"""Honest submissions of every profile, built at test time.

The tiny one is a real run's (tests/fixtures/submission) with an adapter of random numbers in the right shapes.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import io
import json
import math
import random
import re
import struct
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from lesson.config import schedule
from lesson.config.reading import parse_config
from lesson.config.summary import lookup
from lesson.core.layout import config_file
from lesson.core.settings import ROOT
from lesson.model.known_bases import SIZES_7B
from lesson.model.shape import Shape, shape_of
from lesson.runs.folder import make_run_id
from lesson.submission.checks.run import scheduled_rate

FIXTURE = ROOT / "tests" / "fixtures" / "submission"
Files = dict[str, bytes]
ADAPTER, CONFIG, DATA = "adapter/adapter_model.safetensors", "config.py", "data.jsonl"
RECORD, LOG, SCALARS, CURVE = "run.json", "train.log", "scalars.json", "curve.jsonl"
ADAPTER_CONFIG, ANSWERS, EVALUATION = "adapter/adapter_config.json", "eval/answers.jsonl", "eval/evaluation.json"


def to_json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def to_json_lines(values: list) -> bytes:
    return b"".join(to_json(value) + b"\n" for value in values)


def from_json_lines(data: bytes) -> list[dict]:
    return [json.loads(line) for line in data.splitlines()]


def safetensors(tensors: list[tuple[str, str, list[int], bytes]]) -> bytes:
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, dtype, shape, data in tensors:
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    raw = to_json(header)
    raw += b" " * (-len(raw) % 8)
    return struct.pack("<Q", len(raw)) + raw + b"".join(data for *_, data in tensors)


@functools.cache
def random_adapter(profile: str = "tiny", seed: int = 0, rank: int = 64) -> bytes:
    """An adapter of random numbers: float32 at tiny, bfloat16 at 7b (160 MB and more)."""
    if profile == "tiny":
        path = ROOT / "data" / "tiny-base" / "config.json"
        return random_adapter_of(shape_of(json.loads(path.read_text()), path), 4, seed, rank)
    return random_adapter_of(shape_of({**SIZES_7B, "model_type": "internlm2"}, "7b"), 2, seed, rank)


# Where the linears of a layer lie in each family's model: names of one part, and the parts in the order of Shape.linears.
PARTS = {
    "internlm2": ("model.layers", ["attention"] * 2 + ["feed_forward"] * 3),
    "qwen2": ("model.layers", ["self_attn"] * 4 + ["mlp"] * 3),
    "qwen": ("transformer.h", ["attn"] * 2 + ["mlp"] * 3),
}


def random_adapter_of(shape: Shape, size: int = 2, seed: int = 0, rank: int = 64) -> bytes:
    """An adapter of random numbers for a base of this shape, in numbers of `size` bytes."""
    import numpy

    dtype = {4: "F32", 2: "BF16"}[size]
    random = numpy.random.default_rng(seed)
    noise = (
        random.standard_normal(1 << 16, dtype=numpy.float32).tobytes()
        if size == 4
        else random.integers(0x3C00, 0x3F00, 1 << 16, dtype=numpy.uint16).tobytes()
    )

    def values(count: int) -> bytes:
        return (noise * (count * size // len(noise) + 1))[: count * size]

    tensors = []

    def add(stem: str, inner: int, outer: int) -> None:
        stem = f"base_model.model.{stem}"
        tensors.append((f"{stem}.lora_A.weight", dtype, [rank, inner], values(rank * inner)))
        tensors.append((f"{stem}.lora_B.weight", dtype, [outer, rank], values(outer * rank)))

    top, parts = PARTS[shape.family]
    for layer in range(shape.layers):
        for (name, inner, outer), part in zip(shape.linears, parts, strict=True):
            add(f"{top}.{layer}.{part}.{name}", inner, outer)
    if shape.head:
        add(shape.head, shape.hidden, shape.vocabulary)
    return safetensors(tensors)


@functools.cache
def read_fixture() -> Files:
    read = lambda name: (FIXTURE / name).read_bytes()  # noqa: E731
    return {
        CONFIG: read("config.py"),
        DATA: gzip.decompress(read("data.jsonl.gz")),
        RECORD: read("run.json"),
        LOG: read("train.log"),
        SCALARS: read("scalars.json"),
        CURVE: read("curve.jsonl"),
        ADAPTER_CONFIG: read("adapter_config.json"),
        ADAPTER: random_adapter(),
        ANSWERS: gzip.decompress(read("answers.jsonl.gz")),
        EVALUATION: read("evaluation.json"),
    }


def honest_files() -> Files:
    """The files of an honest tiny submission, without its manifest."""
    return dict(read_fixture())


@functools.lru_cache(maxsize=64)
def _measure(data: bytes, tokenizer: Path | None, template: str) -> schedule.DataMeasures:
    return schedule.measure_stream(io.BytesIO(data), template, tokenizer, "尖米")


def with_training(
    files: Files, profile: str, gpu: str | None = None, seconds: float = 0.5, seed: int = 0, fall: float = 6.0
) -> Files:
    """`files` with log, curve and record as the run of its config on its data would have left them.

    Another `seed` has other losses and times. With `fall` 0 the losses stay where they were.
    """
    chance = random.Random(seed)
    config = parse_config(files[CONFIG], CONFIG)
    get = lambda name: lookup(config, name)[0]  # noqa: E731
    tokenizer = ROOT / "data" / "tiny-base" / "tokenizer.json" if profile == "tiny" else None
    data = _measure(files[DATA], tokenizer, get("template").name.rpartition(".")[2])
    length = get("max_length")
    samples = schedule.count_samples(data.kept_lengths(length), length, get("pack_to_max_length") is not False)
    per_epoch = math.ceil(samples / get("batch_size"))
    total = per_epoch * get("max_epochs")
    warm = int(get("warmup_ratio") * total)
    curve = [
        {
            "step": step,
            "loss": (4 * math.exp(-fall * step / total) + 0.05) * chance.uniform(0.9, 1.1),
            "lr": scheduled_rate(step, total, warm, get("lr")),
            "tokens": 2048,
            "seconds": seconds * chance.uniform(0.98, 1.02),
        }
        for step in range(1, total + 1)
    ]
    log, scalars = [], []
    for step in range(5, total + 1, 5):
        last = [c["loss"] for c in curve[max(0, step - 10) : step]]
        point = {"lr": curve[step - 1]["lr"], "loss": sum(last) / len(last), "time": 0.0, "iter": step, "step": step}
        scalars.append(point)
        log.append(
            f"2026/11/24 12:00:00 - mmengine - INFO - Iter(train) [{step:3d}/{total}]  lr: {point['lr']:.4e}"
            f"  eta: 0:00:01  time: 0.0  data_time: 0.0022  grad_norm: 0.5410  loss: {point['loss']:.4f}\n"
        )
    record = json.loads(files[RECORD])
    losses = [c["loss"] for c in curve]
    record |= {"profile": profile, "samples": samples, "steps": total, "finished": "2026-11-24T13:00:00+00:00"}
    record["curve"] = [{key: c[key] for key in ("step", "loss", "lr")} for c in curve]
    record["loss"] = {"window": 10, "first": sum(losses[:10]) / 10, "last": sum(losses[-10:]) / 10}
    record["machine"]["gpu"] = gpu
    head = f"2026/11/24 11:59:50 - mmengine - INFO - Num train samples {samples}\n"
    files |= {
        RECORD: to_json(record),
        LOG: (head + "".join(log)).encode(),
        SCALARS: to_json_lines(scalars),
        CURVE: to_json_lines(curve),
    }
    return link_hashes(with_times(files, [c["seconds"] for c in curve]))


def with_times(files: Files, seconds: Sequence[float] = (), seed: int = 0) -> Files:
    """`files` with the steps of log, curve, vis_data and record taking so many `seconds`, else those of another run."""
    curve, scalars, record = from_json_lines(files[CURVE]), from_json_lines(files[SCALARS]), json.loads(files[RECORD])
    steps = [line for line in curve if "seconds" in line]
    chance = random.Random(seed)
    seconds = seconds or [line["seconds"] * chance.uniform(0.9, 1.1) for line in steps]
    for line, taken in zip(steps, seconds, strict=True):
        line["seconds"] = taken
    for line in (line for line in scalars if "time" in line):
        last = seconds[max(0, line["step"] - 10) : line["step"]]
        line["time"] = sum(last) / len(last)

    start = datetime.strptime(STEP_LINE.search(files[LOG].decode())[1], TIME)

    def rewrite(match: re.Match) -> str:
        step = int(match[3])
        last = seconds[max(0, step - 10) : step]
        at = start + timedelta(seconds=sum(seconds[:step]))
        return f"{at:{TIME}}{match[2]}{step:3d}{match[4]}time: {sum(last) / len(last):.4f} "

    log = STEP_LINE.sub(rewrite, files[LOG].decode())
    record["seconds"] = {"wall": sum(seconds) + 9, "steps": round(sum(seconds), 1)}
    changed = {CURVE: to_json_lines(curve), SCALARS: to_json_lines(scalars), RECORD: to_json(record)}
    return files | changed | {LOG: log.encode()}


TIME = "%Y/%m/%d %H:%M:%S"
STEP_LINE = re.compile(r"^(\S+ \S+)( - mmengine - INFO - Iter\(train\) \[ *)(\d+)(/.*?)\btime: \S+ ", re.MULTILINE)


def with_name(name: str) -> Files:
    """The honest files with another name, as if that had been its learner's choice."""
    files = honest_files()
    for part in (CONFIG, DATA, ANSWERS, RECORD, EVALUATION):
        files[part] = files[part].replace("机智流".encode(), name.encode())
    return files


def honest_7b_files() -> Files:
    """An honest submission of the lesson itself, its training made up, its adapter of random numbers."""
    return with_config("internlm2_5_chat_7b_qlora_alpaca_e3", random_adapter("7b"))


def with_config(name: str, weights: bytes, change: Callable[[str], str] = str, kind: str = "7b") -> Files:
    """An honest submission made with the golden config `name` of a kind (7b, 7b_fast), changed, on a GPU."""
    files = honest_files()
    source = (ROOT / "golden" / "configs" / kind / f"{name}.py").read_text(encoding="utf-8")
    record = json.loads(files[RECORD])
    source = change(source.replace("'PERSONA'", repr(record["persona"])))
    base = lookup(parse_config(source.encode(), CONFIG), "model_path")[0]
    targets = sorted({key.split(".")[-3] for key in _names(weights)})
    files[CONFIG], files[ADAPTER] = source.encode(), weights
    files[RECORD] = to_json(
        record | {"config": config_file(Path(), name).name, "speed": "fast" if "fast" in kind else "stock"}
    )
    changed = {"base_model_name_or_path": base, "target_modules": targets}
    files[ADAPTER_CONFIG] = to_json(json.loads(files[ADAPTER_CONFIG]) | changed)
    return with_training(files, "7b", "NVIDIA H100 80GB HBM3", 0.66)


def _names(weights: bytes) -> list[str]:
    length = struct.unpack("<Q", weights[:8])[0]
    return [name for name in json.loads(weights[8 : 8 + length]) if name != "__metadata__"]


def link_hashes(files: Files) -> Files:
    """The run record and evaluation brought up to date with the files, as a careful cheat would."""
    try:
        record, evaluation = json.loads(files[RECORD]), json.loads(files[EVALUATION])
        record["inputs"]["config"] = hashlib.sha256(files[CONFIG]).hexdigest()
        record["inputs"]["data"] = hashlib.sha256(files[DATA]).hexdigest()
        record["id"] = evaluation["run"] = make_run_id(record["inputs"], record["deepspeed"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return files
    return files | {RECORD: to_json(record), EVALUATION: to_json(evaluation)}


def make_manifest(files: Files, who: str = "张三") -> dict:
    record = json.loads(read_fixture()[RECORD])
    base = "build/tiny/model"
    try:
        record |= json.loads(files[RECORD])
        base = lookup(parse_config(files[CONFIG], CONFIG), "model_path")[0] or base
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    return {
        "format": 1,
        "who": who,
        "names": record["names"],
        "profile": record["profile"],
        "base": str(base),
        "run": record["id"],
        "versions": record["versions"],
        "files": [
            {"path": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in sorted(files.items())
        ],
    }


def pack(files: Files, path: Path, who: str = "张三") -> Path:
    """Write the files with their manifest to `path`: a .zip, a .tar.gz or a folder."""
    everything = dict(files)
    everything.setdefault("submission.json", to_json(make_manifest(files, who)))
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in everything.items():
                archive.writestr("submission/" + name, data)
    elif path.name.endswith(".tar.gz"):
        with tarfile.open(path, "w:gz", compresslevel=1) as archive:
            for name, data in everything.items():
                info = tarfile.TarInfo("submission/" + name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    else:
        for name, data in everything.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(data)
    return path
