"""SPEED=fast on a CPU: the stock model's numbers, from a base that was unpacked once."""

from __future__ import annotations

import pytest

from lesson.model.patches import patch_bitsandbytes

pytestmark = pytest.mark.torch


def test_an_unpacked_base_computes_what_stock_computes(tmp_path):
    """Without dropout, loss and every LoRA gradient equal stock's NF4 model's to rounding, and no layer is packed."""
    import torch
    from mmengine.config import ConfigDict
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig
    from xtuner.model import SupervisedFinetune

    from lesson.model.tiny_base import install_base
    from lesson.training.dequantised import DequantisedFinetune
    from lesson.training.weights import take_census

    patch_bitsandbytes()
    if not hasattr(torch.cpu, "is_bf16_supported"):
        torch.cpu.is_bf16_supported = lambda: True
    install_base(tmp_path / "base")
    torch.manual_seed(0)
    ids = torch.randint(5, 2000, (2, 64))
    batch = {"input_ids": ids, "labels": ids, "attention_mask": torch.ones_like(ids, dtype=torch.bool)}
    losses, gradients, packed = [], [], []
    for kind in (SupervisedFinetune, DequantisedFinetune):
        quantisation = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.float32,
        )
        llm = ConfigDict(
            type=AutoModelForCausalLM.from_pretrained,
            pretrained_model_name_or_path=str(tmp_path / "base"),
            trust_remote_code=True,
            torch_dtype=torch.float32,
            quantization_config=quantisation,
        )
        model = kind(llm=llm, lora=LoraConfig(r=8, lora_alpha=8, lora_dropout=0.0, task_type="CAUSAL_LM"))
        torch.manual_seed(1)
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(parameter, std=0.05)  # B is zero at the start, and then A has no gradient
        loss = model.compute_loss(dict(batch))["loss"]
        loss.backward()
        losses.append(loss.item())
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.requires_grad})
        packed.append(take_census(model).layers_in_4_bits)
    assert packed == [20, 0]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    assert gradients[0].keys() == gradients[1].keys() and len(gradients[0]) == 2 * (20 + 1)
    for name, expected in gradients[0].items():
        assert (gradients[1][name] - expected).norm() <= 1e-4 * expected.norm(), name
