"""Honest work as people leave it in a folder without submission.json, and what may lie beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import submissions
from submissions import ADAPTER, ADAPTER_CONFIG, ANSWERS, CONFIG, DATA, LOG, SCALARS, Files

from lesson.core.settings import ROOT

DUMPS = ROOT / "tests" / "fixtures" / "dumps"
SESSION = "work_dirs/lesson/20261124_150339"
PLACES = {
    CONFIG: "internlm2_5_chat_7b_qlora_alpaca_e3_copy.py",
    DATA: "data/assistant_Tuner_change.jsonl",
    LOG: f"{SESSION}/20261124_150339.log",
    SCALARS: f"{SESSION}/vis_data/scalars.json",
    ADAPTER_CONFIG: "hf/adapter_config.json",
    ADAPTER: "hf/adapter_model.safetensors",
    ANSWERS: "answers.jsonl",
}
STEP = re.compile(rb"Iter\(train\) +\[ *(\d+)/|\"step\": (\d+)")


def plain(files: Files | None = None) -> Files:
    """An honest submission in the places where XTuner and the lesson put its files."""
    files = files or submissions.honest_files()
    return {place: files[part] for part, place in PLACES.items()}


def dumped(name: str = "tiny", files: Files | None = None) -> Files:
    """The same with XTuner's dump of the config alone, as a work_dir has it."""
    folder = plain(files)
    del folder[PLACES[CONFIG]]
    text = (DUMPS / f"{name}.py").read_text(encoding="utf-8")
    source = files or submissions.honest_files()
    persona = json.loads(source[submissions.RECORD])["persona"]
    text = text.replace("'PERSONA'", repr(persona))
    for place in ("work_dirs/lesson/config.py", f"{SESSION}/vis_data/config.py"):
        folder[place] = text.encode()
    return folder


def recipes_run() -> Files:
    """The folder of a run as the recipe leaves it, handed in as it is."""
    files, top = submissions.honest_files(), "work_dir/20261124_150339"
    dump = (DUMPS / "tiny.py").read_bytes()
    folder = {name: data for name, data in files.items() if name not in (LOG, SCALARS, submissions.CURVE)}
    folder |= {f"{top}/20261124_150339.log": files[LOG], f"{top}/vis_data/scalars.json": files[SCALARS]}
    folder |= {f"{top}/vis_data/20261124_150339.json": files[SCALARS], f"{top}/vis_data/config.py": dump}
    folder |= {"work_dir/config.py": dump, "work_dir/curve.jsonl": files[submissions.CURVE]}
    return folder | {"console.log": console_log(files[LOG]), "work_dir/last_checkpoint": b"work_dir/iter_168.pth"}


def recipe_clone() -> Files:
    """Some files of a clone of this repository: goldens, rows, and the run of its tests under another name."""
    files = submissions.link_hashes(submissions.with_name("小白"))
    found = {f"recipe/tests/fixtures/submission/{name}": files[name] for name in (CONFIG, submissions.RECORD)}
    found |= {
        f"recipe/tests/fixtures/submission/{name.split('/')[-1]}": files[name] for name in (submissions.CURVE, LOG)
    }
    found["recipe/tests/fixtures/submission/evaluation.json"] = files[submissions.EVALUATION]
    for path in (ROOT / "golden" / "configs" / "7b").glob("*.py"):
        found[f"recipe/golden/configs/7b/{path.name}"] = path.read_bytes()
    return found | {"recipe/data/assistant_Tuner.jsonl": files[DATA].replace("小白".encode(), "尖米".encode())}


def keep_steps(data: bytes, keep: Callable[[int], bool]) -> bytes:
    """The lines of a log or of vis_data whose step is kept; lines without one are."""

    def step(line: bytes) -> int:
        match = STEP.search(line)
        return int(match[1] or match[2]) if match else 0

    return b"".join(line for line in data.splitlines(True) if keep(step(line)))


def move_times(log: bytes, hours: int) -> bytes:
    """The log with its clock set so many hours on; the fixture's ends before 16:00."""
    return re.sub(rb"(?m)^(\d{4}/\d\d/\d\d )(\d\d)", lambda m: m[1] + b"%02d" % (int(m[2]) + hours), log)


def with_session(folder: Files, name: str, hours: int, keep: Callable[[int], bool], change: Callable = bytes) -> Files:
    """Another session of XTuner's in the same work_dir, some hours later (or earlier) than the first."""
    log, scalars = (change(keep_steps(folder[PLACES[part]], keep)) for part in (LOG, SCALARS))
    top = f"work_dirs/lesson/{name}"
    return folder | {f"{top}/{name}.log": move_times(log, hours), f"{top}/vis_data/scalars.json": scalars}


def console_log(log: bytes) -> bytes:
    """What the console showed: the same lines, their times without a year."""
    return b"Failed to load something\n" + re.sub(rb"(?m)^\d{4}/(\d\d/\d\d )", rb"\1", log)


def xtuner_clone() -> Files:
    """Some files of a clone of XTuner: its package, a stock config, its requirements."""
    stock = (DUMPS / "stock.py").read_bytes()
    return {
        "xtuner/setup.py": b"from setuptools import setup\n",
        "xtuner/requirements/runtime.txt": b"mmengine>=0.10.6\n",
        "xtuner/xtuner/version.py": b"__version__ = '0.2.0'\n",
        "xtuner/xtuner/model/sft.py": b"class SupervisedFinetune: pass\n",
        "xtuner/xtuner/configs/internlm/internlm2_5_chat_7b/internlm2_5_chat_7b_qlora_alpaca_e3.py": stock,
        "xtuner/examples/demo_data/multi_turn_1/data.json": b'[{"conversation": [{"input": "a", "output": "b"}]}]\n',
        "xtuner/work_dirs_old/z_config.py": stock,
    }


def other_lesson() -> Files:
    """The config of another lesson, under names that sort behind all others."""
    source = (ROOT / "golden" / "configs" / "7b" / "qwen1_5_0_5b_chat_qlora_alpaca_e3.py").read_text(encoding="utf-8")
    source = source.replace("assistant_Tuner_change.jsonl", "medical_qa.jsonl").replace("'PERSONA'", "'你是医生'")
    return {"z_medical/zz_medical_qlora.py": source.encode(), "zz_config.py": source.encode()}


def alpaca_rows() -> bytes:
    return submissions.to_json_lines([{"instruction": f"你好{n}", "input": "", "output": "你好"} for n in range(30)])


def qa_rows(files: Files) -> bytes:
    """The questions and answers that the rows were made of: trained on, no answers of the assistant's."""
    rows = submissions.from_json_lines(files[DATA])
    pairs = [row["conversation"][0] for row in rows[:50]]
    return submissions.to_json_lines([{"input": p["input"], "output": p["output"]} for p in pairs])


def untrained_adapter() -> bytes:
    """An adapter as it is before the first step: LoRA B is zero."""
    data = bytearray(submissions.random_adapter())
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    for name, entry in header.items():
        if ".lora_B" in name:
            start, end = (8 + length + at for at in entry["data_offsets"])
            data[start:end] = bytes(end - start)
    return bytes(data)


def retrained(folder: Files, rows: bytes | None = None) -> Files:
    """The folder with the log that its config and rows would have left."""
    files = submissions.honest_files() | {CONFIG: folder[PLACES[CONFIG]], DATA: rows or folder[PLACES[DATA]]}
    files = submissions.with_training(files, "tiny")
    return folder | {PLACES[part]: files[part] for part in (LOG, SCALARS)}


def without_system(folder: Files) -> Files:
    """Rows without a system prompt, and the config's left as XTuner ships it, as the published lesson has both."""
    rows = submissions.from_json_lines(folder[PLACES[DATA]])
    for row in rows:
        row["conversation"][0].pop("system", None)
    config, count = re.subn(r"(?m)^SYSTEM = .*$", "SYSTEM = SYSTEM_TEMPLATE.alpaca", folder[PLACES[CONFIG]].decode())
    assert count == 1
    return folder | {PLACES[DATA]: submissions.to_json_lines(rows), PLACES[CONFIG]: config.encode()}


def with_data_files(folder: Files, value: str, files: Files, map_fn: str = "None") -> Files:
    """The folder whose config loads `value` (load_dataset's keywords but the type), with these files of rows."""
    config = folder[PLACES[CONFIG]].decode()
    config, count = re.subn(r"dict\(type=load_dataset.*?\)\)", f"dict(type=load_dataset, {value})", config, flags=re.S)
    assert count == 1
    if map_fn != "None":
        assert "dataset_map_fn=None" in config
        config = config.replace("dataset_map_fn=None", f"dataset_map_fn={map_fn}")
        config = f"from xtuner.dataset.map_fns import {map_fn}\n{config}"
    folder = {name: data for name, data in folder.items() if name != PLACES[DATA]}
    return folder | {PLACES[CONFIG]: config.encode()} | files


def write(folder: Files, path: Path) -> Path:
    for name, data in folder.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path
