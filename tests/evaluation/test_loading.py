"""Loading a model to talk to: in 4 bits where the GPU's free memory asks for it."""

from __future__ import annotations

import pytest

from lesson.evaluation import loading
from lesson.evaluation.asking import answer_chats, build_chat

GB = 10**9


@pytest.mark.parametrize(
    ("free", "whole"), [(80 * GB, True), (int(18.6 * GB), True), (int(18.3 * GB), False), (12 * GB, False)]
)
def test_a_7b_model_is_loaded_whole_only_with_room_for_an_answer(free, whole):
    """15.5 GB of weights fit where 3 GB are left beside them, and nowhere else."""
    assert loading.fits_in_memory(int(15.48 * GB), free) is whole


@pytest.mark.torch
def test_a_model_in_4_bits_answers_and_one_that_fits_is_not_quantised(tmp_path, monkeypatch):
    """With little free GPU memory the options load 4-bit layers, which answer; with much, there are no options."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from lesson.model.tiny_base import install_base
    from lesson.training.weights import take_census

    install_base(tmp_path / "base")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (80 * GB, 80 * GB))
    assert loading.choose_quantization(tmp_path / "base") == {}
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (GB, GB))
    options = loading.choose_quantization(tmp_path / "base")
    model = AutoModelForCausalLM.from_pretrained(
        tmp_path / "base", trust_remote_code=True, torch_dtype=torch.bfloat16, device_map="cpu", **options
    ).eval()
    assert take_census(model.requires_grad_(False)).layers_in_4_bits == 5 * 4
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "base", trust_remote_code=True)
    (answer,) = answer_chats(tokenizer, model, [build_chat("", "你是谁？")])
    assert "书生" in answer.text
