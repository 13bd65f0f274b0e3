"""make estimate: counts that equal the real model's, memory near what was measured, one line for what cannot be told."""

from __future__ import annotations

import json
from importlib.util import find_spec

import pytest

from lesson.core.messages import UserError
from lesson.model.shape import Shape, lora_parameters, shape_of
from recipe import config, data, estimate

INTERNLM2_7B = {
    "model_type": "internlm2",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 92544,
}
TINY = INTERNLM2_7B | {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 300,
}
QWEN = {"model_type": "qwen2", "num_key_value_heads": 4, "tie_word_embeddings": True}


def shape(sizes: dict) -> Shape:
    return shape_of(sizes, "config.json")


@pytest.fixture
def build(call, tmp_path):
    """A BUILD folder with data, the 7B model's config.json and a config made at 7b."""
    folder = tmp_path / "build"
    row = {"conversation": [{"system": "你是机智流", "input": "你是谁", "output": "我是机智流" * 10}]}
    (folder / "data").mkdir(parents=True)
    data = folder / "data" / "assistant_Tuner_change.jsonl"
    data.write_text((json.dumps(row, ensure_ascii=False) + "\n") * 600, encoding="utf-8")
    (folder / "model").mkdir()
    (folder / "model" / "config.json").write_text(json.dumps(INTERNLM2_7B))
    config = pytest.importorskip("recipe.config")
    if find_spec("xtuner") is None:
        pytest.skip("XTuner is not installed")
    assert call(config, "--build", str(folder), "--profile", "7b")[0] == 0
    return folder


def test_a_fast_config_is_estimated_as_fast(call, build):
    """The config's own model class decides: make config SPEED=fast fits a third of an A100, 16 GB only with QUANT=nf4."""
    from recipe import config

    arguments = ("--build", str(build), "--profile", "7b", "--speed", "fast")
    for quant, gpu, status in [("none", "24", 0), ("none", "16", 1), ("nf4", "16", 0)]:
        assert call(config, *arguments, "--quant", quant)[0] == 0
        found, out, err = call(estimate, *arguments, "--gpu", gpu)
        assert found == status, out + err


def test_on_two_gpus_fast_keeps_less_where_it_is_told_so(call, build):
    """What fills one GPU of 24 GB leaves none for a copy of the gradients and for NCCL: the line names what does."""
    arguments = ("--build", str(build), "--profile", "7b", "--speed", "fast")
    made = (*arguments, "--max-length", "2048")
    assert call(config, *made)[0] == 0
    assert call(estimate, *arguments, "--gpu", "24")[0] == 0
    two = (*arguments, "--nproc-per-node", "2")
    status, out, err = call(estimate, *two, "--gpu", "24")
    assert status == 1 and "does NOT fit: with GPU_MEMORY=24 it keeps less and fits" in out, out + err
    status, out, _ = call(estimate, *two, "--gpu", "16")
    assert status == 1 and "lower MAX_LENGTH" in out, "nothing that it keeps is so much"
    assert call(config, *made, "--gpu-memory", "24")[0] == 0
    status, out, err = call(estimate, *two, "--gpu", "24")
    assert status == 0 and "of 24.0 GB: fits" in out, out + err


@pytest.mark.parametrize("kind", ["fp8", "int8"])
def test_a_base_in_8_bits_fills_the_memory_that_it_is_given(call, build, kind):
    """24 GB unless GPU_MEMORY names more; the frozen weights take half of bfloat16's, and as much again turned around."""
    arguments = ("--build", str(build), "--profile", "7b", "--speed", "fast")
    peaks, weights = [], []
    for memory in ("0", "16", "80"):
        given = ("--base-dtype", kind, "--gpu-memory", memory, "--max-length", "2048")
        status, out, err = call(config, *arguments, *given)
        assert status == 0, err
        status, out, err = call(estimate, *arguments, "--gpu", "80", "--format", "json")
        assert status == 0, out + err
        found = json.loads(out)
        peaks.append(found["device"]["need"] / 1e9)
        weights.append(found["memory"]["weights"] / 6.979e9)
    assert 23 < peaks[0] <= 24 and peaks[1] <= 16 and weights == pytest.approx([1.6, 1.0, 2.0], abs=0.11)


def test_two_ways_to_keep_the_base_and_values_without_a_use_are_refused(call, build):
    arguments = ("--build", str(build), "--profile", "7b")
    status, _, err = call(config, *arguments, "--speed", "fast", "--base-dtype", "fp8", "--quant", "nf4")
    assert status == 2 and "QUANT=nf4 BASE_DTYPE=fp8" in err and "leave one" in err
    for given in (("--base-dtype", "fp8"), ("--gpu-memory", "80")):
        status, _, err = call(config, *arguments, *given)
        assert status == 2 and "SPEED=stock has no use for it" in err and err.count("\n") == 1


def test_report(call, build):
    arguments = ("--build", str(build), "--profile", "7b")
    status, out, _ = call(estimate, *arguments, "--gpu", "A100-30%")
    assert status == 0 and "of 24.0 GB: fits" in out and "157,179,904" in out
    status, out, _ = call(estimate, *arguments, "--gpu", "8", "--lang", "zh")
    assert status == 1 and "放不下" in out
    status, out, _ = call(estimate, *arguments, "--gpu", "24", "--format", "json", "--tokens-per-second", "1000")
    result = json.loads(out)
    assert result["parameters"]["total"] == 7_737_708_544 + 157_179_904
    assert result["schedule"]["tokens"] == result["seconds"] * 1000
    assert result["memory"]["peak"] < result["device"]["need"] < 24e9


def test_before_the_base_is_downloaded_its_known_sizes_do(call, build):
    """The stock config names the base; MODEL= another one by its name on the hub."""
    arguments = ("--build", str(build), "--profile", "7b", "--gpu", "A100-30%", "--format", "json")
    there = json.loads(call(estimate, *arguments)[1])
    (build / "model" / "config.json").unlink()
    (build / "model").rmdir()
    assert json.loads(call(estimate, *arguments)[1])["parameters"] == there["parameters"]
    smaller = json.loads(call(estimate, *arguments, "--model", "internlm/internlm2_5-1_8b-chat")[1])
    assert smaller["parameters"]["total"] < 2.2e9


def test_what_cannot_be_told_is_one_line(call, build):
    arguments = ("--build", str(build), "--profile", "7b")
    status, _, err = call(estimate, *arguments, "--gpu", "A1000")
    assert status == 2 and "A100" in err
    (build / "data" / "assistant_Tuner_change.jsonl").unlink()
    status, out, _ = call(estimate, *arguments, "--gpu", "24")
    assert status == 0 and "make data" in out
    for content in ("{}", "[]", "{", json.dumps(INTERNLM2_7B | {"model_type": "x"}), ""):
        (build / "model" / "config.json").write_text(content)
        status, _, err = call(estimate, *arguments)
        assert status == 2 and err.count("\n") == 1 and "config.json" in err
    (build / "model" / "config.json").unlink()
    status, _, err = call(estimate, *arguments, "--model", "nobody/knows-it")
    assert status == 2 and "MODEL=" in err
    assert call(estimate, "--build", str(build / "no"))[0] == 2


def test_zero_sizes_are_refused():
    with pytest.raises(UserError):
        shape(TINY | {"num_attention_heads": 0})


@pytest.mark.torch
@pytest.mark.parametrize("family", ["internlm2", "qwen2"])
def test_counts_are_the_models(family):
    import torch
    from peft import LoraConfig, get_peft_model
    from xtuner.model.utils import find_all_linear_names

    if family == "internlm2":
        from xtuner._lite.modelings.internlm2.configuration_internlm2 import InternLM2Config
        from xtuner._lite.modelings.internlm2.modeling_internlm2 import InternLM2ForCausalLM

        sizes = TINY
        model = InternLM2ForCausalLM(InternLM2Config(**TINY, bias=False, attn_implementation="eager"))
    else:
        from transformers import Qwen2Config, Qwen2ForCausalLM

        sizes = TINY | QWEN
        model = Qwen2ForCausalLM(Qwen2Config(**sizes))
    ours = shape(sizes)
    assert sum(p.numel() for p in model.parameters()) == ours.parameters
    linear = [m for m in model.modules() if isinstance(m, torch.nn.Linear) and m.out_features != ours.vocabulary]
    assert sum(m.weight.numel() for m in linear) == ours.linear_parameters
    adapted = get_peft_model(model, LoraConfig(r=8, target_modules=find_all_linear_names(model)))
    trained = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    assert trained == lora_parameters(ours, 8)


def test_several_processes_share_the_samples_and_the_estimate_says_so(call, build):
    def of(*more: str) -> dict:
        status, out, err = call(
            estimate, "--build", str(build), "--profile", "7b", "--format", "json", "--gpu", "80", *more
        )
        assert status == 0, err
        return json.loads(out)

    one, four = of(), of("--nproc-per-node", "2", "--nnodes", "2")
    assert four["tokens_per_iteration"] == 4 * one["tokens_per_iteration"]
    assert four["schedule"]["effective_batch"] == 4 * one["schedule"]["effective_batch"]
    assert four["schedule"]["iterations"] < one["schedule"]["iterations"]
    assert four["memory"]["peak"] < one["memory"]["peak"], "ZeRO-2 shares the optimizer"


@pytest.mark.torch
@pytest.mark.parametrize("command", ["smoke", "bench_gpu"])
def test_what_needs_a_gpu_says_so_in_one_line(call, tmp_path, monkeypatch, command):
    """make smoke-7b and make bench-gpu without a CUDA GPU: one line that says so, status 2, nothing left behind."""
    import importlib

    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.chdir(tmp_path)
    status, _, err = call(importlib.import_module(f"recipe.{command}"), "--build", str(tmp_path / "build"))
    assert status == 2 and "no CUDA GPU" in err and err.count("\n") == 1
    assert not list(tmp_path.glob("build/**/*.safetensors"))


def test_a_base_on_the_hub_is_estimated_before_any_download(call, tmp_path):
    flags = ("--profile", "7b", "--build", str(tmp_path / "b"), "--model", "Qwen/Qwen2.5-1.5B-Instruct")
    call(data, "--build", str(tmp_path / "b"))
    status, out, err = call(config, *flags)
    assert status == 0 and "qwen1_5_1_8b_chat_qlora_alpaca_e3" in out, err
    status, out, err = call(estimate, *flags, "--format", "json", "--gpu", "T4")
    total = json.loads(out)["parameters"]
    assert status == 0 and total["total"] - total["trained"] == 1_543_714_304, err


@pytest.mark.parametrize(("half", "line"), [(True, "(measured on two cores"), (False, "set TOKENS_PER_SECOND=")])
def test_a_real_base_on_a_cpu_has_a_time_where_its_like_was_measured(call, tmp_path, monkeypatch, half, line):
    """And its values are chosen by its published sizes: after the download they are the same."""
    from lesson.config import profiles
    from lesson.training import room

    for module in (profiles, room):
        monkeypatch.setattr(module, "multiplies_bfloat16", lambda: half)
    monkeypatch.setattr("lesson.training.estimate.has_nvidia_driver", lambda: False)
    flags = ("--profile", "small", "--build", str(tmp_path / "b"), "--model", "Qwen/Qwen2.5-0.5B-Instruct")
    call(data, "--build", str(tmp_path / "b"))
    assert "for a base of 0.5B parameters" in call(config, *flags)[1]
    status, out, err = call(estimate, *flags)
    assert status == 0 and line in out and "CPU: needs" in out, out + err
    assert "(measured" not in call(estimate, *flags, "--tokens-per-second", "500")[1]
    on_gpu = json.loads(call(estimate, *flags, "--gpu", "24", "--format", "json")[1])
    assert on_gpu["device"]["fits"] and 1.2e9 < on_gpu["memory"]["peak"] < 3e9
    assert call(config, *flags, "--base-dtype", "int8")[0] == 0
    in_8_bits = json.loads(call(estimate, *flags, "--gpu", "24", "--format", "json")[1])
    assert in_8_bits["memory"]["weights"] * 2 == on_gpu["memory"]["weights"]


@pytest.mark.parametrize("base", ["Qwen/Qwen2.5-7B-Instruct", "meta-llama/Llama-3.1-8B-Instruct"])
def test_fast_is_estimated_for_every_shape_that_it_computes(call, tmp_path, base):
    flags = ("--profile", "7b", "--speed", "fast", "--build", str(tmp_path / "b"), "--model", base)
    call(data, "--build", str(tmp_path / "b"))
    status, out, err = call(config, *flags)
    assert status == 0 and "model.type" in out, err
    memory = json.loads(call(estimate, *flags, "--gpu", "24", "--format", "json")[1])["memory"]
    assert 18e9 < memory["peak"] < 24e9 and memory["weights"] > 12e9
