"""The other trainers: what is pinned, what they are given, how their process is started. None of them is installed here."""

from __future__ import annotations

import json
import re

import pytest

from lesson.bench import rivals
from lesson.bench.rival_trainers import TRAINERS
from lesson.core.messages import UserError
from lesson.core.settings import SETTINGS
from lesson.model.random_base import start_llama

RESULT = {"seconds": 0.5, "peak_memory": 20e9, "peak_reserved": 22e9, "loss": [2.0, 1.0], "versions": {"trl": "9"}}


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A TRL whose Python writes down what it was started with, and RESULT."""
    monkeypatch.setattr(rivals, "VENVS", tmp_path / "venvs")
    python = tmp_path / "venvs" / "trl" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(
        f"#!/bin/sh\necho \"$@\" >'{tmp_path}/typed'; env >'{tmp_path}/env'\n"
        f"for out; do :; done\necho '{json.dumps(RESULT)}' >\"$out\"\n"
    )
    python.chmod(0o755)
    return tmp_path


def test_each_rival_is_pinned_and_trains_as_it_comes_and_with_its_own_tricks():
    assert list(rivals.RIVALS) == SETTINGS["RIVALS"].default.split() and set(TRAINERS) == set(rivals.RIVALS)
    for rival in rivals.RIVALS.values():
        assert all(re.fullmatch(r"[\w-]+==\d[\w.]+", requirement) for requirement in rival.requirements)
        assert list(rival.variants) == [rivals.PLAIN, rivals.TRICKS] and rival.home.startswith("https://")
        plain, tricks = rival.variants.values()
        assert set(plain) == set(tricks) and plain != tricks


@pytest.mark.parametrize(
    ("text", "names"),
    [("trl", ("trl",)), ("nemo, trl trl", ("nemo", "trl")), ("none", ())],
)
def test_some_of_them_are_chosen_in_the_order_typed(text, names):
    assert SETTINGS["RIVALS"].parse(text) == names


@pytest.mark.parametrize("text", ["", " ", "trl none", "TRL", "llamafactory"])
def test_what_names_no_rival_is_refused(text):
    with pytest.raises(UserError, match="none, or some of unsloth, trl, axolotl, nemo"):
        SETTINGS["RIVALS"].parse(text)


def test_one_that_is_not_installed_says_what_to_type(installed):
    assert rivals.interpreter_of("nemo") is None and rivals.interpreter_of("trl") is not None


def test_what_to_type_makes_the_venv_that_is_looked_for():
    make, install = rivals.how_to_install("unsloth").split(" && ")
    assert make == "python3 -m venv .venv-rivals/unsloth"
    assert install.startswith(".venv-rivals/unsloth/bin/pip install unsloth==2026")


def test_its_process_gets_base_packs_and_variant_and_nothing_of_ours(installed, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/ours")
    found = rivals.train_rival("trl", rivals.TRICKS, installed, installed / "base", installed / "packs.jsonl", 2048)
    typed = (installed / "typed").read_text()
    assert typed.startswith("-m lesson.bench.rival_trainers trl own tricks --model")
    assert f"--packs {installed}/packs.jsonl --steps 20 --out {installed}/trl-tricks.json" in typed
    assert "PYTHONPATH" not in (installed / "env").read_text()
    assert found["tokens_per_second"] == 4096 and found["peak"] == 20e9 and found["used"] == 22.7e9
    assert found["versions"] == {"trl": "9"} and found["loss"] == [2.0, 1.0] and found["first_step"] is None


def test_a_process_that_fails_is_a_users_error_with_its_last_lines(installed):
    (installed / "venvs/trl/bin/python").write_text("#!/bin/sh\necho out of memory; exit 1\n")
    with pytest.raises(UserError) as error:
        rivals.train_rival("trl", rivals.PLAIN, installed, installed, installed, 2048)
    assert "TRL with PEFT" in str(error.value) and "out of memory" in error.value.details


@pytest.mark.torch
@pytest.mark.slow
def test_a_llamas_folder_and_its_packs(tmp_path):
    """The tiny base's tokenizer cuts chats into full packs, of which only answers are learned; the config is a Llama's."""
    from transformers import AutoConfig, AutoTokenizer

    base, rows = tmp_path / "base", tmp_path / "rows.jsonl"
    config = start_llama(base)
    (base / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert type(AutoConfig.from_pretrained(base)).__name__ == "LlamaConfig" and config["hidden_size"] == 4096
    turn = {"system": "", "input": "Who are you?", "output": "I am 闻星."}
    rows.write_text((json.dumps({"conversation": [turn]}) + "\n") * 9, encoding="utf-8")
    count = rivals.write_packs(base, rows, tmp_path / "packs.jsonl", 32)
    packs = [json.loads(line) for line in (tmp_path / "packs.jsonl").read_text().splitlines()]
    assert len(packs) == count > 2 and {len(part) for pack in packs for part in pack.values()} == {32}
    assert all(label in (-100, i) for p in packs for i, label in zip(p["input_ids"], p["labels"], strict=True))
    learned = [label for pack in packs for label in pack["labels"] if label != -100]
    assert AutoTokenizer.from_pretrained(base).decode(learned).startswith("I am 闻星.<|im_end|>")
    with pytest.raises(UserError, match="not enough for a pack of 4096 tokens"):
        rivals.write_packs(base, rows, tmp_path / "packs.jsonl", 4096)
