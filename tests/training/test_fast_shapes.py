"""SPEED=fast refuses what it does not compute, by the module's name."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.torch


@pytest.fixture
def refused():
    """refused(change, lora options) → the message of the refusal of a one-layer Llama after `change(model)`."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    from lesson.core.messages import UserError
    from lesson.training.fast_shapes import read_parts

    def refuse(change=None, kind=LlamaForCausalLM, config=LlamaConfig, targets=("q_proj",), **lora) -> str:
        sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1}
        with torch.device("cpu"):
            model = kind(config(vocab_size=16, **sizes))
        if change:
            change(model)
        peft = get_peft_model(model, LoraConfig(r=2, task_type="CAUSAL_LM", target_modules=list(targets), **lora))
        with pytest.raises(UserError) as error:
            read_parts(peft.base_model.model)
        return str(error.value)

    return refuse


def test_another_architecture_is_refused(refused):
    from transformers import MistralConfig, MistralForCausalLM

    message = refused(kind=MistralForCausalLM, config=MistralConfig)
    assert message == "MistralForCausalLM: with SPEED=fast only InternLM2, Llama, Qwen2 are computed; use SPEED=stock"


def test_another_arithmetic_is_refused_by_the_modules_name(refused):
    from torch import nn

    def norm_queries(model):
        model.model.layers[0].self_attn.q_norm = nn.LayerNorm(16)

    def take_another_gate(model):
        model.model.layers[0].mlp.act_fn = nn.GELU()

    def drop_attention(model):
        model.config.attention_dropout = 0.1

    def slide(model):
        model.config.use_sliding_window = True

    assert refused(norm_queries).startswith("model.layers.0.self_attn.q_norm: ")
    assert refused(take_another_gate).startswith("model.layers.0.mlp.act_fn: ")
    assert refused(drop_attention).startswith("config.json: attention_dropout: ")
    assert refused(slide).startswith("config.json: use_sliding_window: ")


def test_another_adapter_is_refused_by_the_modules_name(refused):
    assert refused(use_dora=True).startswith("model.layers.0.self_attn.q_proj: ")
    assert refused(targets=("embed_tokens",)).startswith("model.embed_tokens: ")
