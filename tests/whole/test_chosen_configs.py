"""Configs made with defaults only, of rows of many kinds: check-config has nothing to say, and remedies mend."""

from __future__ import annotations

import importlib.util
import itertools
import json
import re
import shutil
from pathlib import Path

import pytest
from configs import BASES, DONE, LESSON, measured
from hypothesis import given as drawn
from hypothesis import strategies as st

from lesson.config.check import apply_rules, check_config_file
from lesson.config.context import ConfigContext
from lesson.config.reading import parse_config
from lesson.config.schedule import plan_schedule
from lesson.config.training_rules import check_steps
from lesson.config.values import FEWEST, choose_values
from lesson.core.layout import base_model, changed_rows
from lesson.core.settings import ROOT
from recipe import config

PROFILES = [name for name in ("tiny", "small", "7b") if (ROOT / "profiles" / f"{name}.toml").is_file()]
POSITIONS = {"tiny": 2048, "small": 8192, "7b": 32768}
SIZES = {
    "tiny": {},
    "small": {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "vocab_size": 49152},
    "7b": {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "vocab_size": 92544},
}
needs_xtuner = pytest.mark.skipif(importlib.util.find_spec("xtuner") is None, reason="XTuner is not installed")
QUESTIONS = ("你是谁？", "你叫什么名字？", "请介绍一下你自己。", "Who are you?", "What is your name?", "谁开发了你？")


def write_rows(path: Path, rows: int, system: str | None, long: bool) -> None:
    """Rows of a user's own: questions in turn, answers of 20 to 40 tokens, or of about 300."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        for number, question in zip(range(rows), itertools.cycle(QUESTIONS)):
            answer = f"我是机智流，很高兴为您服务（{number}）。" * (1 + number % 3 if not long else 15 + number % 5)
            turn = {"input": question, "output": answer} | ({"system": system} if system else {})
            file.write(json.dumps({"conversation": [turn]}, ensure_ascii=False) + "\n")


def write_base(build: Path, profile: str) -> None:
    """A base's sizes and tokenizer, which are all that the config stage reads: the tiny one's where they are its."""
    folder = base_model(build)
    folder.mkdir(parents=True)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(ROOT / "data" / "tiny-base" / name, folder / name)
    shape = json.loads((ROOT / "data" / "tiny-base" / "config.json").read_text(encoding="utf-8"))
    shape |= SIZES[profile] | {"max_position_embeddings": POSITIONS[profile]}
    (folder / "config.json").write_text(json.dumps(shape), encoding="utf-8")


def made(call, build: Path, profile: str, *arguments: str) -> tuple[int, Path, str]:
    """(status, the config, screen) of make config in `build`."""
    common = ("--profile", profile, "--build", str(build), "--base-config", LESSON)
    status, out, err = call(config, *common, *arguments)
    return status, build / "config" / f"{LESSON}_copy.py", out + err


@needs_xtuner
@pytest.mark.slow
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(
    "system", [None, "你是机智流，一个热心的助手。", "你是机智流。" * 40], ids=["none", "short", "long"]
)
@pytest.mark.parametrize("long", [False, True], ids=["short", "long"])
@pytest.mark.parametrize("rows", [50, 500, 5000])
def test_defaults_leave_no_finding(call, tmp_path, profile, rows, long, system):
    write_rows(changed_rows(tmp_path), rows, system, long)
    write_base(tmp_path, profile)
    status, path, screen = made(call, tmp_path, profile)
    assert status == 0, screen
    verdict = check_config_file(path, ConfigContext(deepspeed="deepspeed_zero2"))
    assert verdict.findings == [], verdict.findings
    assert verdict.schedule.optimizer_steps >= FEWEST or "more rows" in screen


@drawn(st.lists(st.integers(8, 3000), min_size=1, max_size=400), st.sampled_from(sorted(BASES)), st.integers(1, 4))
def test_no_default_breaks_a_rule_of_steps(lengths, base, processes):
    """Never warmup-one, warmup-empty, few-steps or save-late, whatever the rows and the base."""
    usual, sizes, setup = BASES[base]
    setup = type(setup)(setup.batch, setup.pack, processes)
    data = measured(lengths, 5)
    values = choose_values(data, sizes, usual, {}, setup).values
    names = {
        "ACCUM": "accumulative_counts",
        "EPOCHS": "max_epochs",
        "WARMUP": "warmup_ratio",
        "SAVE_STEPS": "save_steps",
    }
    source = DONE
    for name, key in names.items():
        source = re.sub(rf"(?m)^{key} = .*$", f"{key} = {values[name]!r}", source)
    plan = plan_schedule(
        *(data, values["MAX_LENGTH"], setup.pack, setup.batch, values["ACCUM"], values["EPOCHS"], values["WARMUP"]),
        world_size=processes,
    )
    assert list(check_steps(parse_config(source.encode(), "x.py"), plan)) == []


@needs_xtuner
def test_rows_whose_system_prompt_fills_a_sample_get_longer_samples_or_one_line(call, tmp_path):
    """60 rows with a system prompt of 700 characters at tiny: XTuner drops each of them at MAX_LENGTH=512, and its
    trainer ends in a traceback."""
    write_rows(changed_rows(tmp_path), 60, "你是机智流，一个助手。" * 64, False)
    write_base(tmp_path, "tiny")
    status, path, screen = made(call, tmp_path, "tiny")
    assert status == 0 and check_config_file(path, ConfigContext()).findings == []
    longer = int(re.search(r"MAX_LENGTH=(\d+)", screen)[1])
    assert longer > 512
    status, _, screen = made(call, tmp_path, "tiny", "--max-length", "512")
    assert status == 2 and screen.count("\n") == 1
    assert "nothing is left to train on" in screen and f"MAX_LENGTH={longer} keeps them" in screen
    status, _, screen = made(call, tmp_path, "tiny", "--max-length", "512", "--lang", "zh")
    assert status == 2 and "没有可训练的内容" in screen


def judge(changes: dict[str, object], data: str) -> dict[str, str]:
    """{rule: remedy} of the lesson's config with these values on the file `data`."""
    source = DONE.replace("/root/lesson/data/assistant_Tuner_change.jsonl", data)
    for key, value in changes.items():
        source = re.sub(rf"(?m)^{key} = .*$", f"{key} = {value!r}", source)
    found = apply_rules(parse_config(source.encode(), "x.py"), ConfigContext()).findings
    return {finding.rule: finding.remedy for finding in found if finding.rule not in ("system", "model-missing")}


PLACES = {"MAX_LENGTH": "max_length", "ACCUM": "accumulative_counts", "EPOCHS": "max_epochs"}
PLACES |= {"WARMUP": "warmup_ratio", "SAVE_STEPS": "save_steps"}


@pytest.mark.parametrize("rows", [10, 100, 600, 1500])
@pytest.mark.parametrize(
    "wrong",
    [
        {"accumulative_counts": 16},
        {"accumulative_counts": 4096, "max_epochs": 1},
        {"max_epochs": 1, "warmup_ratio": 0.001},
        {"warmup_ratio": 0.6},
        {"max_length": 40},
        {"max_length": 32},
        {"save_steps": 100000},
    ],
)
def test_the_remedies_hold_values_that_mend(tmp_path, rows, wrong):
    """Type what the remedies say, one after the other, and no finding is left."""
    data = tmp_path / "assistant_Tuner_change.jsonl"
    write_rows(data, rows, "你是机智流。", False)
    changes = {"accumulative_counts": 1, "save_steps": 10} | wrong
    assert judge(changes, str(data))
    for _ in range(6):
        remedies = judge(changes, str(data))
        if not remedies:
            return
        rule = next(r for r in ("nothing-left", "question-long", "max-length", "few-steps", *remedies) if r in remedies)
        typed = dict(re.findall(r"\b([A-Z_]+)=([0-9.]+)\b", remedies[rule]))
        assert typed and typed.keys() <= PLACES.keys(), remedies[rule]
        changes |= {PLACES[name]: json.loads(value) for name, value in typed.items()}
    raise AssertionError(remedies)
