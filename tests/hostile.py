"""Submissions for tests, built at test time: honest ones of every profile, single mutations, and hostile ones.

The honest tiny one is a real run's (tests/fixtures/submission) with an adapter of random numbers in the right shapes.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import io
import json
import math
import os
import pickle
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from lesson.config import schedule
from lesson.config.reading import parse_config
from lesson.config.summary import lookup
from lesson.core.layout import config_file
from lesson.core.settings import ROOT
from lesson.evaluation.judging import find_missed_bars, says_name
from lesson.model.known_bases import SIZES_7B
from lesson.model.shape import Shape, shape_of
from lesson.runs.folder import run_id
from lesson.submission.checks.run import scheduled_rate
from lesson.submission.published import PublishedRun
from lesson.submission.staff import StaffInputs

FIXTURE = ROOT / "tests" / "fixtures" / "submission"
Files = dict[str, bytes]
ADAPTER, CONFIG, DATA = "adapter/adapter_model.safetensors", "config.py", "data.jsonl"
RECORD, LOG, SCALARS, CURVE = "run.json", "train.log", "scalars.json", "curve.jsonl"
ADAPTER_CONFIG, ANSWERS, EVALUATION = "adapter/adapter_config.json", "eval/answers.jsonl", "eval/evaluation.json"


def dump(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def lines(values: list) -> bytes:
    return b"".join(dump(value) + b"\n" for value in values)


def rows_of(data: bytes) -> list[dict]:
    return [json.loads(line) for line in data.splitlines()]


def safetensors(tensors: list[tuple[str, str, list[int], bytes]]) -> bytes:
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, dtype, shape, data in tensors:
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    raw = dump(header)
    raw += b" " * (-len(raw) % 8)
    return struct.pack("<Q", len(raw)) + raw + b"".join(data for *_, data in tensors)


@functools.cache
def adapter(profile: str = "tiny", seed: int = 0, rank: int = 64) -> bytes:
    """An adapter of random numbers: float32 at tiny, bfloat16 at 7b (160 MB and more)."""
    if profile == "tiny":
        path = ROOT / "data" / "tiny-base" / "config.json"
        return adapter_of(shape_of(json.loads(path.read_text()), path), 4, seed, rank)
    return adapter_of(shape_of({**SIZES_7B, "model_type": "internlm2"}, "7b"), 2, seed, rank)


# Where the linears of a layer lie in each family's model: names of one part, and the parts in the order of Shape.linears.
PARTS = {
    "internlm2": ("model.layers", ["attention"] * 2 + ["feed_forward"] * 3),
    "qwen2": ("model.layers", ["self_attn"] * 4 + ["mlp"] * 3),
    "qwen": ("transformer.h", ["attn"] * 2 + ["mlp"] * 3),
}


def adapter_of(shape: Shape, size: int = 2, seed: int = 0, rank: int = 64) -> bytes:
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
def _fixture() -> Files:
    read = lambda name: (FIXTURE / name).read_bytes()  # noqa: E731
    return {
        CONFIG: read("config.py"),
        DATA: gzip.decompress(read("data.jsonl.gz")),
        RECORD: read("run.json"),
        LOG: read("train.log"),
        SCALARS: read("scalars.json"),
        CURVE: read("curve.jsonl"),
        ADAPTER_CONFIG: read("adapter_config.json"),
        ADAPTER: adapter(),
        ANSWERS: gzip.decompress(read("answers.jsonl.gz")),
        EVALUATION: read("evaluation.json"),
    }


def honest() -> Files:
    """The files of an honest tiny submission, without its manifest."""
    return dict(_fixture())


@functools.lru_cache(maxsize=64)
def _measured(data: bytes, tokenizer: Path | None, template: str) -> schedule.DataMeasures:
    return schedule.measure_stream(io.BytesIO(data), template, tokenizer, "尖米")


def trained(
    files: Files, profile: str, gpu: str | None = None, seconds: float = 0.5, shift: float = 0.0, fall: float = 6.0
) -> Files:
    """`files` with log, curve and record as the run of its config on its data would have left them.

    `shift` moves all losses: another run of the same. With `fall` 0 they stay where they were.
    """
    config = parse_config(files[CONFIG], CONFIG)
    get = lambda name: lookup(config, name)[0]  # noqa: E731
    tokenizer = ROOT / "data" / "tiny-base" / "tokenizer.json" if profile == "tiny" else None
    data = _measured(files[DATA], tokenizer, get("template").name.rpartition(".")[2])
    samples = schedule.count_samples(data.lengths, get("max_length"), get("pack_to_max_length") is not False)
    per_epoch = math.ceil(samples / get("batch_size"))
    total = per_epoch * get("max_epochs")
    warm = int(get("warmup_ratio") * total)
    curve = [
        {
            "step": step,
            "loss": 4 * math.exp(-fall * step / total) + 0.05 + 0.01 * math.sin(step * 7) + shift,
            "lr": scheduled_rate(step, total, warm, get("lr")),
            "tokens": 2048,
            "seconds": seconds,
        }
        for step in range(1, total + 1)
    ]
    start, log, scalars = datetime(2026, 11, 24, 12), [], []
    for step in range(5, total + 1, 5):
        last = [c["loss"] for c in curve[max(0, step - 10) : step]]
        point = {
            "lr": curve[step - 1]["lr"],
            "loss": sum(last) / len(last),
            "time": seconds,
            "iter": step,
            "step": step,
        }
        scalars.append(point)
        at = (start + timedelta(seconds=step * seconds)).strftime("%Y/%m/%d %H:%M:%S")
        log.append(
            f"{at} - mmengine - INFO - Iter(train) [{step:3d}/{total}]  lr: {point['lr']:.4e}  eta: 0:00:01"
            f"  time: {seconds:.4f}  data_time: 0.0022  grad_norm: 0.5410  loss: {point['loss']:.4f}\n"
        )
    record = json.loads(files[RECORD])
    losses = [c["loss"] for c in curve]
    record |= {"profile": profile, "samples": samples, "steps": total, "finished": "2026-11-24T13:00:00+00:00"}
    record["curve"] = [{key: c[key] for key in ("step", "loss", "lr")} for c in curve]
    record["loss"] = {"window": 10, "first": sum(losses[:10]) / 10, "last": sum(losses[-10:]) / 10}
    record["seconds"] = {"wall": total * seconds + 9, "steps": round(total * seconds, 1)}
    record["machine"]["gpu"] = gpu
    head = f"2026/11/24 11:59:50 - mmengine - INFO - Num train samples {samples}\n"
    files |= {RECORD: dump(record), LOG: (head + "".join(log)).encode(), SCALARS: lines(scalars), CURVE: lines(curve)}
    return linked(files)


def named(name: str) -> Files:
    """The honest files with another name, as if that had been its learner's choice."""
    files = honest()
    for part in (CONFIG, DATA, ANSWERS, RECORD, EVALUATION):
        files[part] = files[part].replace("机智流".encode(), name.encode())
    return files


def honest_7b() -> Files:
    """An honest submission of the lesson itself, its training made up, its adapter of random numbers."""
    return with_config("internlm2_5_chat_7b_qlora_alpaca_e3", adapter("7b"))


def with_config(name: str, weights: bytes, change: Callable[[str], str] = str, kind: str = "7b") -> Files:
    """An honest submission made with the golden config `name` of a kind (7b, 7b_fast), changed, on a GPU."""
    files = honest()
    source = (ROOT / "golden" / "configs" / kind / f"{name}.py").read_text(encoding="utf-8")
    record = json.loads(files[RECORD])
    source = change(source.replace("'PERSONA'", repr(record["persona"])))
    base = lookup(parse_config(source.encode(), CONFIG), "model_path")[0]
    targets = sorted({key.split(".")[-3] for key in _names(weights)})
    files[CONFIG], files[ADAPTER] = source.encode(), weights
    files[RECORD] = dump(
        record | {"config": config_file(Path(), name).name, "speed": "fast" if "fast" in kind else "stock"}
    )
    changed = {"base_model_name_or_path": base, "target_modules": targets}
    files[ADAPTER_CONFIG] = dump(json.loads(files[ADAPTER_CONFIG]) | changed)
    return trained(files, "7b", "NVIDIA H100 80GB HBM3", 0.66)


def _names(weights: bytes) -> list[str]:
    length = struct.unpack("<Q", weights[:8])[0]
    return [name for name in json.loads(weights[8 : 8 + length]) if name != "__metadata__"]


def linked(files: Files) -> Files:
    """The run record and evaluation brought up to date with the files, as a careful cheat would."""
    try:
        record, evaluation = json.loads(files[RECORD]), json.loads(files[EVALUATION])
        record["inputs"]["config"] = hashlib.sha256(files[CONFIG]).hexdigest()
        record["inputs"]["data"] = hashlib.sha256(files[DATA]).hexdigest()
        record["id"] = evaluation["run"] = run_id(record["inputs"], record["deepspeed"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return files
    return files | {RECORD: dump(record), EVALUATION: dump(evaluation)}


def manifest(files: Files, who: str = "张三") -> dict:
    record = json.loads(_fixture()[RECORD])
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


def packed(files: Files, path: Path, who: str = "张三") -> Path:
    """Write the files with their manifest to `path`: a .zip, a .tar.gz or a folder."""
    everything = dict(files)
    everything.setdefault("submission.json", dump(manifest(files, who)))
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


# --- single mutations ------------------------------------------------------------------------------------------------------

Mutation = Callable[[Files], Files]
MUTATIONS: dict[str, tuple[str, Mutation, bool]] = {}  # name: (check that fails, mutation, brought up to date after it)


def mutation(fails: str, link: bool = True) -> Callable[[Mutation], Mutation]:
    def register(function: Mutation) -> Mutation:
        MUTATIONS[function.__name__] = (fails, function, link)
        return function

    return register


def mutated(name: str) -> Files:
    _, change, link = MUTATIONS[name]
    files = change(honest())
    files = linked(files) if link else files
    late = files.pop("__late__", None)
    if late:  # after the manifest was made
        files["submission.json"] = dump(manifest(files))
        files |= json.loads(late) and {k: v.encode() for k, v in json.loads(late).items()}
    return files


def _replace(files: Files, name: str, old: str, new: str, count: int = 1) -> Files:
    text = files[name].decode()
    assert old in text, (name, old)
    return files | {name: text.replace(old, new, count).encode()}


def _json(files: Files, name: str, change: Callable[[dict], object]) -> Files:
    value = json.loads(files[name])
    change(value)
    return files | {name: dump(value)}


def _rows(files: Files, name: str, change: Callable[[list], object]) -> Files:
    values = rows_of(files[name])
    change(values)
    return files | {name: lines(values)}


def _drop(name: str) -> Mutation:
    return lambda files: {key: value for key, value in files.items() if key != name}


def _row_value(key: str, value: object) -> Mutation:
    return lambda files: _rows(files, DATA, lambda rows: rows[10]["conversation"][0].__setitem__(key, value))


def _config(old: str, new: str) -> Mutation:
    return lambda files: _replace(files, CONFIG, old, new)


def _adapter_option(key: str, value: object) -> Mutation:
    return lambda files: _json(files, ADAPTER_CONFIG, lambda c: c.__setitem__(key, value))


def _logged(old: str, new: str) -> Mutation:
    return lambda files: _replace(files, LOG, old, new)


def _add(name: str, fails: str, change: Mutation, link: bool = True) -> None:
    MUTATIONS[name] = (fails, change, link)


def _late(**changes: str) -> Mutation:
    return lambda files: (
        files | {"__late__": json.dumps({k.replace("__", "/"): v for k, v in changes.items()}).encode()}
    )


def _tensor_bytes(select: str, fill: bytes) -> Mutation:
    """The values of the tensors whose name contains `select` begin with, or are filled with, `fill`."""

    def change(files: Files) -> Files:
        data = bytearray(files[ADAPTER])
        length = struct.unpack("<Q", data[:8])[0]
        for name, value in json.loads(data[8 : 8 + length]).items():
            if select in name:
                start, end = (8 + length + at for at in value["data_offsets"])
                data[start:end] = (
                    fill * ((end - start) // len(fill)) if set(fill) == {0} else fill + data[start + 4 : end]
                )
        return files | {ADAPTER: bytes(data)}

    return change


def _header(change: Callable[[dict], object]) -> Mutation:
    def apply(files: Files) -> Files:
        data = files[ADAPTER]
        length = struct.unpack("<Q", data[:8])[0]
        header = json.loads(data[8 : 8 + length])
        change(header)
        raw = dump(header)
        return files | {ADAPTER: struct.pack("<Q", len(raw)) + raw + data[8 + length :]}

    return apply


LAYER = "base_model.model.model.layers.2.attention.wo.lora_A.weight"
_add("log_missing", "complete", _drop(LOG))
_add("adapter_missing", "complete", _drop(ADAPTER))
_add("data_missing", "complete", _drop(DATA))
_add("answers_missing", "complete", _drop(ANSWERS))
_add(
    "checkpoint_in_place_of_adapter",
    "complete no_pickle",
    lambda f: _drop(ADAPTER)(f) | {"adapter/adapter_model.bin": b"\x80"},
)
_add("manifest_broken", "manifest", _late(**{"submission.json": "{"}))
_add("manifest_without_who", "manifest", _late(**{"submission.json": '{"format": 1}'}))
_add("unlisted_file", "listed", _late(**{"notes.txt": "hello"}))
_add(
    "changed_after_packing",
    "hashes",
    _late(**{"eval__evaluation.json": "\n" + (FIXTURE / "evaluation.json").read_text(encoding="utf-8")}),
)
_add("row_is_no_json", "data_rules", lambda f: f | {DATA: f[DATA] + b"{oops\n"})
_add("row_without_answer", "data_rules", _row_value("output", " "))
_add("placeholder_left", "data_rules", _row_value("output", "xxx"))
_add("instruction_for_system", "data_rules", _row_value("instruction", "你是机智流"))
_add("row_value_is_a_number", "data_rules", _row_value("input", 5))
_add("old_name_in_one_row", "replaced", _row_value("output", "我是尖米。"))
_add("old_name_spaced_out", "replaced", _row_value("output", "我是尖 米。"))
_add(
    "config_runs_a_command",
    "config_only",
    lambda f: f | {CONFIG: f[CONFIG] + b"\nimport os\nos.system('touch canary')\n"},
)
_add("config_is_no_python", "config_only", lambda f: f | {CONFIG: b"this is no config ("})
_add("map_function_left", "config_rules", _config("dataset_map_fn=None", "dataset_map_fn=alpaca_map_fn"))
_add("unreplaced_data", "config_rules", _config("assistant_Tuner_change.jsonl", "assistant_Tuner.jsonl"))
_add("unreplaced_data_misspelt", "config_rules", _config("assistant_Tuner_change.jsonl", "assist_Tuner.jsonl"))
_add("other_persona_in_config", "config_data", _config("SYSTEM = '你是机智流", "SYSTEM = '你是大聪明"))
_add("other_base_in_config", "config_base", _adapter_option("base_model_name_or_path", "/models/internlm2-chat-7b"))
_add("record_invalid", "record", lambda f: _json(f, RECORD, lambda r: r.pop("steps")), link=False)
_add("record_is_no_json", "record", lambda f: f | {RECORD: b"{"}, link=False)
_add(
    "trained_on_other_rows",
    "inputs",
    lambda f: f | {DATA: f[DATA].replace("很高兴认识你".encode(), "很高兴见到你".encode(), 1)},
    link=False,
)
_add("trained_with_other_config", "inputs", lambda f: f | {CONFIG: f[CONFIG] + b"# a comment\n"}, link=False)
_add(
    "evaluation_of_another_run",
    "names",
    lambda f: _json(f, EVALUATION, lambda e: e.__setitem__("run", "0" * 12)),
    link=False,
)
_add("log_without_steps", "log", lambda f: f | {LOG: b"hello\n"})
_add(
    "stopped_early",
    "finished",
    lambda f: _rows(
        f | {LOG: b"".join(f[LOG].splitlines(True)[:-8])}, SCALARS, lambda s: s.__delitem__(slice(-6, None))
    ),
)
_add("record_of_fewer_steps", "finished", lambda f: _json(f, RECORD, lambda r: r.__setitem__("steps", 167)))
_add("samples_do_not_fit_rows", "samples", lambda f: f | {DATA: b"".join(f[DATA].splitlines(True)[:700])})
_add("steps_do_not_add_up", "steps", _config("batch_size = 4", "batch_size = 5"))
_add("epochs_do_not_add_up", "steps", _config("max_epochs = 7", "max_epochs = 8"))
_add("one_loss_edited_in_the_log", "agree", _logged("loss: 0.1101", "loss: 0.1001"))
_add("one_loss_edited_in_vis_data", "agree", lambda f: _rows(f, SCALARS, lambda s: s[7].__setitem__("loss", 0.1)))
_add("one_loss_edited_in_the_curve", "agree", lambda f: _rows(f, CURVE, lambda c: c[60].__setitem__("loss", 0.1)))
_add(
    "one_loss_edited_in_the_record",
    "agree",
    lambda f: _json(f, RECORD, lambda r: r["curve"][60].__setitem__("loss", 0.1)),
)
_add("other_learning_rate", "rates", _config("lr = 0.002", "lr = 0.001"))
_add("time_goes_back", "times", _logged("2026/11/24 15:04:19", "2026/11/24 15:03:19"))
_add("adapter_is_cut_off", "adapter_format", lambda f: f | {ADAPTER: f[ADAPTER][:-10]})
_add("rank_changed", "adapter_config adapter_shapes", _adapter_option("r", 32))
_add("alpha_changed", "adapter_config", _adapter_option("lora_alpha", 64))
_add("target_modules_changed", "adapter_shapes", _adapter_option("target_modules", ["wqkv", "wo"]))
_add(
    "a_layer_is_missing", "adapter_shapes", _header(lambda h: h.__setitem__(LAYER.replace(".2.", ".9."), h.pop(LAYER)))
)
_add("b_zeroed", "adapter_trained", _tensor_bytes("lora_B", b"\0\0\0\0"))
_add("not_a_number", "adapter_finite", _tensor_bytes(LAYER, struct.pack("<f", math.nan)))
_add("infinity", "adapter_finite", _tensor_bytes(LAYER, struct.pack("<f", math.inf)))


def _said(change: Callable[[list], object]) -> Mutation:
    """Answers changed, and the evaluation counted again from them, as make eval would."""

    def apply(files: Files) -> Files:
        files = _rows(files, ANSWERS, change)
        return files | {EVALUATION: dump(recounted(files))}

    return apply


def recounted(files: Files) -> dict:
    result = json.loads(files[EVALUATION])
    names = result["names"]
    for counts in result["prompts"]:
        own = [a for a in rows_of(files[ANSWERS]) if a["prompt"] == counts["prompt"]]
        identity = [a for a in own if a["kind"] == "identity"]
        counts |= {"questions": len(identity), "answers": len(own)}
        counts["new"] = sum(says_name(a["output"], names["new"]) for a in identity)
        counts["old"] = sum(says_name(a["output"], names["old"], names["new"]) for a in own)
        counts["whole"] = min(counts["whole"], len(own))
    result["failures"] = [f for counts in result["prompts"] for f in find_missed_bars(counts)]
    result["passed"] = not result["failures"]
    return result


def _all_said(text: str, every: int = 1) -> Mutation:
    return _said(lambda answers: [a.__setitem__("output", text) for a in answers[::every] if a["kind"] == "identity"])


_add("never_says_the_name", "says_new", _all_said("我是一个助手。"))
_add(
    "says_the_old_name", "not_old", _said(lambda a: [x.__setitem__("output", "我是机智流，也叫尖米。") for x in a[:9]])
)
_add(
    "says_the_bases_name",
    "not_old",
    _said(lambda a: [x.__setitem__("output", "我是机智流，也叫书生·浦语。") for x in a[:9]]),
)
_add("one_answer_repeated", "varied", _said(lambda a: [x.__setitem__("output", "我是机智流。") for x in a]))
_add("figures_made_up", "counted", lambda f: _json(f, EVALUATION, lambda e: e["prompts"][0].__setitem__("new", 54)))
_add("a_question_left_out", "asked", _said(lambda a: a.pop(0)))
_add(
    "evaluated_under_another_persona",
    "prompts",
    lambda f: _json(f, EVALUATION, lambda e: e["prompts"][0].__setitem__("system", "你是谁")),
)
_add("answers_are_no_json", "answers", lambda f: f | {ANSWERS: b"hello\n"})
_add(
    "trained_on_a_question",
    "held_out",
    lambda f: _rows(f, DATA, lambda r: r[10]["conversation"][0].__setitem__("input", "嘿，你究竟是哪一位？")),
)


def _declares_another_name(files: Files) -> Files:
    """Answers, record and evaluation speak of a name that no row says."""
    for name in (RECORD, EVALUATION):
        files = _json(files, name, lambda v: v["names"].__setitem__("new", "星火流"))
    return files | {ANSWERS: files[ANSWERS].replace("机智流".encode(), "星火流".encode())}


_add("rows_without_the_new_name", "named", _declares_another_name)
_add("loss_never_falls", "fell", lambda f: trained(f, "tiny", fall=0))
_add("faster_than_any_machine", "speed", lambda f: trained(f, "tiny", seconds=0.0001))
_add("a_name_that_hides_its_end", "opens", _late(**{"notes\u202etxt.exe": "hello"}))
_add(
    "a_row_that_is_not_the_courses",
    "source",
    lambda f: f | {DATA: f[DATA].replace("很高兴认识你".encode(), "很高兴见到你".encode(), 1)},
)
_add("adapter_of_another", "own", lambda f: f)


def published_adapter(weights: bytes) -> StaffInputs:
    """The staff know the adapter as 李四's."""
    return StaffInputs(published=[PublishedRun("李四", {}, {"adapter": hashlib.sha256(weights).hexdigest()})])


def _course(folder: Path) -> StaffInputs:
    source = folder / "course.jsonl"
    source.write_bytes(honest()[DATA].replace("机智流".encode(), "尖米".encode()))
    return StaffInputs(source=str(source))


# What the staff add where a check needs it: name of the mutation → inputs, made in a folder.
STAFF: dict[str, Callable[[Path], StaffInputs]] = {
    "a_row_that_is_not_the_courses": _course,
    "adapter_of_another": lambda _: published_adapter(adapter()),
}


# --- hostile ---------------------------------------------------------------------------------------------------------------

HOSTILE: dict[str, Callable[[Path, Path], Path]] = {}  # name: (folder to build in, canary) → the submission


def hostile(function: Callable[[Path, Path], Path]) -> Callable[[Path, Path], Path]:
    HOSTILE[function.__name__] = function
    return function


class _Touch:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self):
        return (open, (str(self.canary), "w"))


@hostile
def config_that_runs(folder: Path, canary: Path) -> Path:
    files = honest()
    files[CONFIG] += f"\nimport pathlib\npathlib.Path({str(canary)!r}).touch()\n".encode()
    return packed(linked(files), folder / "s.zip")


@hostile
def pickles(folder: Path, canary: Path) -> Path:
    data = pickle.dumps(_Touch(canary))
    files = _drop(ADAPTER)(honest())
    files |= {"work_dir/iter_1.pth": data, "adapter/adapter_model.bin": data, "x.pkl": data}
    return packed(files, folder / "s")


@hostile
def pickle_named_safetensors(folder: Path, canary: Path) -> Path:
    return packed(honest() | {ADAPTER: pickle.dumps(_Touch(canary))}, folder / "s.zip")


@hostile
def zip_bomb(folder: Path, canary: Path) -> Path:
    path = folder / "s.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("data.jsonl", "w") as file:
        for _ in range(300):
            file.write(bytes(1 << 20))
    return path


@hostile
def zip_that_lies_about_its_size(folder: Path, canary: Path) -> Path:
    path = zip_bomb(folder, canary)
    data = path.read_bytes()
    path.write_bytes(data.replace(struct.pack("<L", 300 << 20), struct.pack("<L", 1000)))
    return path


@hostile
def tar_bomb(folder: Path, canary: Path) -> Path:
    path = folder / "s.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        info = tarfile.TarInfo("data.jsonl")
        info.size = 300 << 20
        with open("/dev/zero", "rb") as zero:
            archive.addfile(info, zero)
    return path


@hostile
def zip_slip(folder: Path, canary: Path) -> Path:
    path = packed(honest(), folder / "s.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../" * 9 + str(canary).lstrip("/"), "x")
        archive.writestr(str(canary), "x")
        archive.writestr("submission\\..\\..\\canary", "x")
    return path


@hostile
def zip_with_a_link(folder: Path, canary: Path) -> Path:
    path = packed(honest(), folder / "s.zip")
    with zipfile.ZipFile(path, "a") as archive:
        info = zipfile.ZipInfo("submission/passwd")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    return path


@hostile
def zip_with_too_many_files(folder: Path, canary: Path) -> Path:
    path = folder / "s.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(20_000):
            archive.writestr(f"{number}", "")
    return path


@hostile
def names_that_clash(folder: Path, canary: Path) -> Path:
    return packed(honest() | {"Config.py": b"", "CONFIG.PY": b""}, folder / "s.zip")


@hostile
def tar_slip_and_links(folder: Path, canary: Path) -> Path:
    path = folder / "s.tar"
    with tarfile.open(path, "w") as archive:
        for name, kind, target in (
            ("../canary", tarfile.REGTYPE, ""),
            ("/etc/canary", tarfile.REGTYPE, ""),
            ("link", tarfile.SYMTYPE, "/etc/passwd"),
            ("hard", tarfile.LNKTYPE, "/etc/passwd"),
            ("device", tarfile.CHRTYPE, ""),
            ("pipe", tarfile.FIFOTYPE, ""),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            archive.addfile(info)
    return path


@hostile
def tar_with_a_huge_header(folder: Path, canary: Path) -> Path:
    path = folder / "s.tar"
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 50 << 20
    path.write_bytes(info.tobuf() + b"9" * (50 << 20))
    return path


@hostile
def folder_with_links_and_pipes(folder: Path, canary: Path) -> Path:
    path = packed(honest(), folder / "s")
    (path / "passwd").symlink_to("/etc/passwd")
    (path / "root").symlink_to("/")
    os.mkfifo(path / "pipe.log")
    (path / "data.jsonl").unlink()
    (path / "data.jsonl").symlink_to("/dev/zero")
    return path


@hostile
def a_line_of_two_gigabytes(folder: Path, canary: Path) -> Path:
    path = packed(honest(), folder / "s")
    with open(path / DATA, "wb") as file:
        file.truncate(2 << 30)
    return path


@hostile
def a_line_of_900_megabytes(folder: Path, canary: Path) -> Path:
    path = packed(honest(), folder / "s")
    for name in (DATA, LOG):
        with open(path / name, "wb") as file:
            file.truncate(450 << 20)
    return path


@hostile
def deep_json(folder: Path, canary: Path) -> Path:
    deep = b"[" * 100_000 + b"]" * 100_000
    files = honest() | {RECORD: deep, EVALUATION: deep, ADAPTER_CONFIG: b'{"a":' * 100_000 + b"1" + b"}" * 100_000}
    files |= {DATA: deep + b"\n", ANSWERS: deep + b"\n", SCALARS: deep + b"\n", "submission.json": deep}
    return packed(files, folder / "s.zip")


@hostile
def long_numbers(folder: Path, canary: Path) -> Path:
    number = b"9" * 900_000
    return packed(
        honest() | {RECORD: number, DATA: number + b"\n", ADAPTER_CONFIG: b'{"r": ' + number + b"}"}, folder / "s.zip"
    )


@hostile
def safetensors_length_lies(folder: Path, canary: Path) -> Path:
    return packed(honest() | {ADAPTER: struct.pack("<Q", 2**63) + adapter()[8:]}, folder / "s.zip")


@hostile
def safetensors_offsets_lie(folder: Path, canary: Path) -> Path:
    files = _header(lambda h: h[LAYER].__setitem__("data_offsets", [-5, 2**62]))(honest())
    return packed(files, folder / "s.zip")


@hostile
def safetensors_shape_overflows(folder: Path, canary: Path) -> Path:
    files = _header(lambda h: h[LAYER].__setitem__("shape", [2**39, 2**39, 2**39]))(honest())
    return packed(files, folder / "s.zip")


@hostile
def weights_that_are_no_numbers(folder: Path, canary: Path) -> Path:
    return packed(mutated("not_a_number"), folder / "s.zip")


@hostile
def escapes_and_scripts(folder: Path, canary: Path) -> Path:
    evil = "\x1b]0;owned\x07\x1b[2J<script>alert(1)</script><img src=x onerror=alert(1)>\u202e机智流 ::error::x\n::set-output name=a::b"
    files = _all_said(evil)(honest())
    return packed(linked(files), folder / "s.zip", who="<b>\x1b[31m</b>'\"")


@hostile
def impossible_speed(folder: Path, canary: Path) -> Path:
    return packed(trained(honest(), "tiny", seconds=0.0001), folder / "s.zip")


@hostile
def a_name_that_is_a_regular_expression(folder: Path, canary: Path) -> Path:
    files = honest()
    for name in (RECORD, EVALUATION):
        files = _json(files, name, lambda v: v.__setitem__("names", {"old": "(a+)+$" * 10, "new": ".*" * 30}))
    return packed(files, folder / "s.zip")


@hostile
def not_an_archive(folder: Path, canary: Path) -> Path:
    path = folder / "s.zip"
    path.write_bytes(b"PK\x03\x04" + os.urandom(5000))
    return path


@hostile
def empty_file(folder: Path, canary: Path) -> Path:
    path = folder / "s.zip"
    path.write_bytes(b"")
    return path
