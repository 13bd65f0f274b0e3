"""What the rivals' process records and writes; with a venv of theirs, that it trains on a CPU."""

from __future__ import annotations

import json
import subprocess
from argparse import Namespace

import pytest

from lesson.bench import rival_trainers, rivals
from lesson.core.settings import ROOT
from lesson.model.random_base import start_llama

pytestmark = [pytest.mark.torch, pytest.mark.slow]
SIZES = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
SIZES |= {"num_key_value_heads": 2, "vocab_size": 2500}


def write_packs(path, length=32, count=6):
    packs = [
        {"input_ids": list(range(5 + i, 5 + i + length)), "labels": [-100] * 4 + [9] * (length - 4)}
        for i in range(count)
    ]
    path.write_text("".join(json.dumps(pack) + "\n" for pack in packs))


def test_a_document_has_the_median_of_the_second_half_and_what_was_trained():
    import torch

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(3, 2, bias=False)
            self.frozen = torch.nn.Linear(3, 2).requires_grad_(False)

        def forward(self, input_ids):
            return self.layer(input_ids)

    model, recorder = Model(), rival_trainers.Recorder()
    recorder.see_model(model)
    for rows in (1, 2):  # only the first step is looked at
        model(input_ids=torch.zeros(rows, 3))
    recorder.ends, recorder.losses = [0.0, 9.0, 11.0, 12.0, 15.0], [2.0, 1.5, 1.2, 1.0]
    found = rival_trainers.document_of(Namespace(trainer="trl", variant=rivals.PLAIN), recorder)
    assert found["steps"] == [9.0, 2.0, 1.0, 3.0] and found["seconds"] == 2.0
    assert found["trained"] == 6 and found["shapes"] == [(1, 3)] and found["loss"][-1] == 1.0
    assert found["versions"]["torch"] == torch.__version__.split("+")[0] and "trl" not in found["versions"]


def test_nemos_label_of_a_place_is_the_next_token(tmp_path):
    write_packs(tmp_path / "packs.jsonl", 8, 1)
    (batch,) = rival_trainers.packs_for_nemo(str(tmp_path / "packs.jsonl"))
    assert batch["input_ids"].tolist() == [[5, 6, 7, 8, 9, 10, 11, 12]]
    assert batch["labels"].tolist() == [[-100, -100, -100, 9, 9, 9, 9, -100]]
    assert batch["position_ids"].tolist() == [list(range(8))]


@pytest.mark.parametrize("variant", [rivals.PLAIN, rivals.TRICKS])
@pytest.mark.parametrize("name", ["trl", "unsloth", "axolotl"])  # NeMo AutoModel wants a GPU
def test_an_installed_rival_trains_lora_on_every_linear_layer(tmp_path, name, variant):
    python = rivals.interpreter_of(name)
    if python is None:
        pytest.skip(rivals.how_to_install(name))
    from transformers import AutoConfig, AutoModelForCausalLM

    base, out = tmp_path / "base", tmp_path / "out.json"
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.json").write_text(json.dumps(start_llama(base, SIZES)))
    AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(tmp_path / "config")).save_pretrained(base)
    write_packs(tmp_path / "packs.jsonl")
    command = [str(python), "-m", "lesson.bench.rival_trainers", name, variant, "--model", str(base), "--steps", "2"]
    subprocess.run([*command, "--packs", str(tmp_path / "packs.jsonl"), "--out", str(out)], check=True, cwd=ROOT)
    found = json.loads(out.read_text())
    per_layer = 64 + 64 + (64 + 32) * 2 + (64 + 128) * 3
    assert found["trained"] == 64 * 2 * per_layer and found["shapes"] == [[1, 32]] and len(found["loss"]) == 2
