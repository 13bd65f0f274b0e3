"""SPEED=fast on a CPU: XTuner's SupervisedFinetune over the NF4 base's values, unpacked once instead of in every pass.

The base is quantised as in the lesson, and each layer's weight then replaced by what its 4 bits stand for: the numbers
that stock computes with, so that the loss curve stays stock's. Four times the memory, which a tiny base has to spare.
"""

from __future__ import annotations

from torch import nn
from xtuner.model import SupervisedFinetune


class DequantisedFinetune(SupervisedFinetune):
    """SupervisedFinetune with an unpacked base, all activations kept, and torch's fused attention."""

    FLAT_GRADIENTS = True  # on several ranks: lesson/training/data_parallel.py

    def __init__(self, *arguments, **keywords) -> None:
        super().__init__(*arguments, use_activation_checkpointing=False, **keywords)

    def build_llm_from_cfg(self, llm_cfg, *arguments) -> nn.Module:
        llm_cfg.attn_implementation = "sdpa"
        return super().build_llm_from_cfg(llm_cfg, *arguments).dequantize()
