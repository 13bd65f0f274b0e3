"""InternLM2's weights under Llama's names compute the same."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from lesson.core.messages import UserError
from lesson.core.settings import ROOT
from lesson.export.llama_layout import rewrite_config

INTERNLM2 = {"model_type": "internlm2", "architectures": ["InternLM2ForCausalLM"], "auto_map": {"AutoModel": "x.Y"}}
INTERNLM2 |= {"vocab_size": 92544, "hidden_size": 4096, "num_attention_heads": 32, "num_key_value_heads": 8}
INTERNLM2 |= {"bias": False, "rope_theta": 1000000, "max_position_embeddings": 32768, "pretraining_tp": 1}


def test_the_config_is_llamas_and_names_no_code():
    made = rewrite_config(INTERNLM2 | {"rope_scaling": {"type": "dynamic", "factor": 2.0}})
    assert made["architectures"] == ["LlamaForCausalLM"] and made["model_type"] == "llama"
    assert "auto_map" not in made and "pretraining_tp" not in made
    assert made["rope_theta"] == 1000000 and made["num_key_value_heads"] == 8
    assert made["rope_scaling"] == {"rope_type": "dynamic", "factor": 2.0}
    assert made["attention_bias"] is False and made["mlp_bias"] is False


def test_a_config_without_a_word_on_biases_has_them_as_internlm2s_code_has():
    assert rewrite_config({"model_type": "internlm2"})["attention_bias"] is True


def test_a_rotary_embedding_that_llama_does_not_have_is_refused():
    with pytest.raises(UserError, match="ntk-by-parts"):
        rewrite_config(INTERNLM2 | {"rope_scaling": {"type": "ntk-by-parts", "factor": 2.0}})


@pytest.mark.torch
@pytest.mark.slow
@pytest.mark.parametrize("shard", [1 << 40, 100_000], ids=["one file", "shards"])
@pytest.mark.parametrize(
    "change", [{}, {"bias": True, "rope_scaling": {"type": "dynamic", "factor": 2.0}}], ids=["plain", "bias"]
)
def test_llama_and_internlm2s_own_code_give_the_same_logits(tmp_path, change, shard):
    """Random weights, two query heads a key head; float32, so what is left is the order of additions (about 1e-6)."""
    import torch
    from random_bases import make_base
    from transformers import AutoConfig, AutoModelForCausalLM

    from lesson.export.llama_layout import rewrite_weights
    from lesson.model.weights import find_tensors

    source = make_base("internlm2", tmp_path / "source")
    config = json.loads((source / "config.json").read_text()) | change
    (source / "config.json").write_text(json.dumps(config))
    torch.manual_seed(1)
    made = AutoModelForCausalLM.from_config(
        AutoConfig.from_pretrained(source, trust_remote_code=True), trust_remote_code=True
    )
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    made.save_pretrained(source)
    (source / "config.json").write_text(json.dumps(config))
    target = tmp_path / "target"
    target.mkdir()
    seen = []
    rewrite_weights(find_tensors(source), config, target, seen.append, shard)
    (target / "config.json").write_text(json.dumps(rewrite_config(config)))
    assert (target / "model.safetensors").exists() == (shard > 1 << 30)
    assert seen == sorted(set(seen)) and len(seen) == len(list(target.glob("*.safetensors")))
    assert seen[-1] == sum(t.numel() * t.element_size() for t in (read() for read in find_tensors(source).values()))
    other, report = AutoModelForCausalLM.from_pretrained(
        target, torch_dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    assert not report["missing_keys"] and not report["unexpected_keys"]
    own = AutoModelForCausalLM.from_pretrained(source, trust_remote_code=True, torch_dtype=torch.float32).eval()
    tokens = torch.randint(5, config["vocab_size"], (2, 40))
    with torch.inference_mode():
        expected, logits = own(tokens).logits, other.eval()(tokens).logits
    assert expected.std() > 0.5
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(logits.argmax(-1), expected.argmax(-1))


@pytest.mark.torch
def test_a_tensor_that_internlm2_does_not_have_is_named():
    import torch

    from lesson.export.llama_layout import rewrite_tensor

    for name, shape in (("model.layers.0.attention.wqkv.weight", (13, 8)), ("model.layers.0.other.weight", (12, 8))):
        with pytest.raises(UserError, match=r"model\.layers\.0"):
            list(rewrite_tensor(name, torch.zeros(shape), 4, 2))


MEASURED = """
import sys, threading
from pathlib import Path
import torch
from lesson.export.llama_layout import rewrite_weights
from lesson.model.weights import find_tensors

def memory():  # without what is the files' own
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) >> 10

peak, ended = 0, threading.Event()
def watch():
    global peak
    while not ended.wait(0.001):
        peak = max(peak, memory())

tensors = find_tensors(Path(sys.argv[1]))
before = memory()
thread = threading.Thread(target=watch)
thread.start()
rewrite_weights(tensors, {"num_attention_heads": 4, "num_key_value_heads": 2}, Path(sys.argv[2]), shard_size=64 << 20)
ended.set()
thread.join()
print(peak - before)
"""


@pytest.mark.torch
@pytest.mark.slow
def test_weights_go_from_file_to_file_with_little_in_memory(tmp_path):
    """384 MiB in files of 64 MiB: what was cut apart is in memory, a file's share of it at once, and nothing else."""
    import torch
    from safetensors.torch import save_file

    weights = {}
    for layer in range(12):
        weights[f"model.layers.{layer}.attention.wqkv.weight"] = torch.zeros(2048, 2048, dtype=torch.bfloat16)
        weights[f"model.layers.{layer}.feed_forward.w1.weight"] = torch.zeros(6144, 2048, dtype=torch.bfloat16)
    (tmp_path / "made").mkdir()
    save_file(weights, tmp_path / "model.safetensors")
    del weights
    said = subprocess.run(
        [sys.executable, "-c", MEASURED, tmp_path, tmp_path / "made"], cwd=ROOT, capture_output=True, text=True
    )
    assert said.returncode == 0, said.stderr
    assert len(list((tmp_path / "made").glob("*.safetensors"))) == 6
    assert int(said.stdout) < 64, f"{said.stdout.strip()} MiB"
